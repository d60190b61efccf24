"""Loading for tests: on a CPU, in exact mode, without a preview decoder of its own, in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentcast_worker.model.checkpoint.parts import SDXL_CONFIGS
from latentcast_worker.model.load import ModelSource, load_sdxl
from latentcast_worker.model.port import Reporter
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.settings import WorkerSettings

SILENT = Reporter(loading=lambda _report: None, log=lambda _level, _message: None)


def reporter_to(lines: list[str]) -> Reporter:
    """Writes each line of the log as `level: message`."""
    return Reporter(SILENT.loading, lambda level, message: lines.append(f"{level}: {message}"))


def load_model(
    model: Path,
    cache_dir: Path,
    *,
    name: str = "name",
    configs: Path = SDXL_CONFIGS,
    reporter: Reporter = SILENT,
    **changes: Any,
) -> SdxlModel:
    """`changes` are fields of the worker's settings."""
    settings = worker_settings(model, cache_dir, **changes)
    return load_sdxl(ModelSource(str(model), name, configs), settings, reporter)


def worker_settings(model: Path, cache_dir: Path, **changes: Any) -> WorkerSettings:
    settings: dict[str, Any] = {
        "endpoint": "unused",
        "slot": 0,
        "incarnation": 0,
        "models": (str(model),),
        "tiny_vae": "unused",
        "device": "cpu",
        "cache_dir": str(cache_dir),
        "max_batch": 1,
        "shortcuts": (),
    }
    return WorkerSettings(**{**settings, **changes})
