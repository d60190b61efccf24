"""From the name that a person gave to a loaded model: the built-in names, folders, files and hub ids."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ..settings import WorkerSettings
from ..tiny_sdxl.build import ensure_tiny_sdxl
from .load import ModelSource, load_sdxl
from .port import LoadedModel, LoadError, Reporter

DEMO_FOLDER = Path(__file__).resolve().parents[3] / "models" / "demo"

REPORTED_PACKAGES = ("torch", "diffusers", "transformers")


def load_named_model(settings: WorkerSettings, reporter: Reporter) -> LoadedModel:
    """Loads `demo`, `noise`, a folder, a file or a hub id. Raises LoadError."""
    loaded = load_sdxl(_find_source(settings), settings, reporter)
    return LoadedModel(loaded, {name: version(name) for name in REPORTED_PACKAGES})


def _find_source(settings: WorkerSettings) -> ModelSource:
    model = settings.model
    match model:
        case "demo":
            if not DEMO_FOLDER.is_dir():
                raise LoadError("model_not_found", "the demo model is not part of this installation")
            return ModelSource(str(DEMO_FOLDER), model)
        case "noise":
            return ModelSource(str(ensure_tiny_sdxl(Path(settings.cache_dir))), model)
        case _:
            # Without its folder: the name is shown to clients and written into images.
            return ModelSource(model, Path(model).resolve().name if Path(model).exists() else model)
