"""From the name that a person gave to a loaded model: the built-in names, folders and hub ids."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ..tiny_sdxl.build import ensure_tiny_sdxl
from .load import LoadOptions, load_sdxl
from .port import LoadedModel, LoadError, Reporter
from .shortcuts import Shortcuts

DEMO_FOLDER = Path(__file__).resolve().parents[3] / "models" / "demo"

REPORTED_PACKAGES = ("torch", "diffusers", "transformers")


def load_named_model(
    model: str,
    tiny_vae: str,
    device: str,
    cache_dir: Path,
    max_batch: int | None,
    shortcuts: Shortcuts,
    reporter: Reporter,
) -> LoadedModel:
    """Loads `demo`, `noise`, a folder or a hub id. Raises LoadError."""
    match model:
        case "demo":
            if not DEMO_FOLDER.is_dir():
                raise LoadError("model_not_found", "the demo model is not part of this installation")
            folder = str(DEMO_FOLDER)
        case "noise":
            folder = str(ensure_tiny_sdxl(cache_dir))
        case _:
            folder = model
    options = LoadOptions(folder, model, tiny_vae, device, max_batch, cache_dir, shortcuts)
    loaded = load_sdxl(options, reporter.loading, reporter.log)
    return LoadedModel(loaded, {name: version(name) for name in REPORTED_PACKAGES})
