"""From the name that a person gave to a loaded model: the built-in names, folders, files and hub ids."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ..settings import WorkerSettings
from ..tiny_sdxl.build import ensure_tiny_sdxl
from .load import LoadOptions, load_sdxl
from .port import LoadedModel, LoadError, Reporter

DEMO_FOLDER = Path(__file__).resolve().parents[3] / "models" / "demo"

REPORTED_PACKAGES = ("torch", "diffusers", "transformers")


def load_named_model(settings: WorkerSettings, reporter: Reporter) -> LoadedModel:
    """Loads `demo`, `noise`, a folder, a file or a hub id. Raises LoadError."""
    cache_dir = Path(settings.cache_dir)
    name = settings.model
    match settings.model:
        case "demo":
            if not DEMO_FOLDER.is_dir():
                raise LoadError("model_not_found", "the demo model is not part of this installation")
            folder = str(DEMO_FOLDER)
        case "noise":
            folder = str(ensure_tiny_sdxl(cache_dir))
        case _:
            folder = settings.model
            # Shown to clients and written into images: whose folder it is in is nobody's business.
            if Path(folder).exists():
                name = Path(folder).resolve().name
    options = LoadOptions(
        model=folder,
        name=name,
        tiny_vae=settings.tiny_vae,
        device=settings.device,
        max_batch=settings.max_batch,
        cache_dir=cache_dir,
        shortcuts=frozenset(settings.shortcuts),
        vae=settings.vae,
        prediction=settings.prediction_type,
        distillation=settings.distillation,
    )
    loaded = load_sdxl(options, reporter.loading, reporter.log)
    return LoadedModel(loaded, {name: version(name) for name in REPORTED_PACKAGES})
