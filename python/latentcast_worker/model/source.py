"""From the names that a person gave to loaded models: the built-in names, folders, files and hub ids."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ..protocol import UnservedModel
from ..settings import WorkerSettings
from ..shelf import Candidate, OneModel, SeveralModels
from ..tiny_sdxl.folder import ensure_tiny_sdxl
from .denoise import SdxlSample
from .devices import Device, open_device
from .load import ModelSource, candidate, load_on
from .port import Loaded, LoadError, ModelShelf, Reporter

DEMO_FOLDER = Path(__file__).resolve().parents[3] / "models" / "demo"

REPORTED_PACKAGES = ("torch", "diffusers", "transformers")

_FILE = ".safetensors"
# What a diffusers folder has; without one of them it may be a folder of models.
_MODEL_PARTS = ("model_index.json", "unet")


def load_named_models(settings: WorkerSettings, reporter: Reporter) -> Loaded:
    """Loads `demo`, `noise`, a folder, a file or a hub id, or the first of several. Raises LoadError."""
    device = open_device(settings.device)
    sources = find_sources(settings)
    shelf: ModelShelf[SdxlSample]
    if len(sources) == 1:
        shelf = OneModel(load_on(device, sources[0], settings, reporter))
    else:
        shelf = _several(device, sources, settings, reporter)
    return Loaded(shelf, device.used_bytes, {name: version(name) for name in REPORTED_PACKAGES})


def _several(
    device: Device, sources: Sequence[ModelSource], settings: WorkerSettings, reporter: Reporter
) -> SeveralModels[SdxlSample]:
    candidates: list[Candidate[SdxlSample]] = []
    failures: dict[str, LoadError] = {}
    for source in sources:
        try:
            candidates.append(candidate(device, source, settings, reporter))
        except LoadError as failure:
            reporter.log("error", f"{source.name} is not served: {failure}")
            failures[source.name] = failure
    if not candidates:
        raise next(iter(failures.values()))
    unserved = [UnservedModel(id=name, problem=str(failure)) for name, failure in failures.items()]
    shelf = SeveralModels(candidates, unserved, device)
    shelf.load_first()
    return shelf


def find_sources(settings: WorkerSettings) -> Sequence[ModelSource]:
    """What the settings name, each once; a folder of models stands for all that is in it.

    Raises LoadError for two models of one name.
    """
    sources: dict[str, ModelSource] = {}
    for model in settings.models:
        for inside in _models_in(model):
            source = _find_source(inside, Path(settings.cache_dir))
            known = sources.setdefault(source.name, source)
            if _place(known) != _place(source):
                raise LoadError("model_invalid", f"two models are called {source.name}: rename one of them")
    return list(sources.values())


def _place(source: ModelSource) -> Path:
    return Path(source.model).expanduser().resolve()


def _models_in(model: str) -> Sequence[str]:
    """The models of a folder of models, by name; anything else as it is."""
    folder = Path(model).expanduser()
    if not folder.is_dir() or _is_model(folder):
        return [model]
    found = [path for path in folder.iterdir() if path.suffix == _FILE or (path.is_dir() and _is_model(path))]
    return [str(path) for path in sorted(found)] or [model]


def _is_model(folder: Path) -> bool:
    return any((folder / part).exists() for part in _MODEL_PARTS)


def _find_source(model: str, cache: Path) -> ModelSource:
    match model:
        case "demo":
            if not DEMO_FOLDER.is_dir():
                raise LoadError("model_not_found", "the demo model is not part of this installation")
            return ModelSource(str(DEMO_FOLDER), model)
        case "noise":
            return ModelSource(str(ensure_tiny_sdxl(cache)), model)
        case _:
            # Without its folder: the name is shown to clients and written into images.
            return ModelSource(model, Path(model).resolve().name if Path(model).exists() else model)
