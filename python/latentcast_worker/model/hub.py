"""Finds a model's folder or file: local ones as they are, those of the hub in its cache, downloaded where needed."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
from tqdm.auto import tqdm

from ..protocol import Loading
from .port import LoadError, Reporter

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILE = re.compile(r"([\w.-]+/[\w.-]+)/((?:[\w.-]+/)*[\w.-]+\.safetensors)")

_WEIGHT_FOLDERS = ("text_encoder", "text_encoder_2", "unet", "vae")

# Named one by one: the root of SDXL's repository also holds the whole model as a single file, twice.
_SMALL_FILES = (
    "model_index.json",
    "latentcast.json",
    "config.json",
    "diffusion_pytorch_model.safetensors",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
    *(f"{folder}/config.json" for folder in _WEIGHT_FOLDERS),
)

_PROGRESS_INTERVAL_SECONDS = 0.5


def find_model(model: str, reporter: Reporter, *, half_precision: bool) -> Path:
    """The folder or file of `model`: a path, a hub id, or a hub id with the path of a file in its repository.

    `half_precision` takes the fp16 files of a repository that has them. Raises LoadError `model_not_found` or
    `download_failed`.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    if _HUB_ID.fullmatch(model):
        return _download(model, lambda bar: _snapshot(model, half_precision, bar), reporter)
    if match := _HUB_FILE.fullmatch(model):
        repository, file = match.groups()
        return _download(model, lambda bar: hf_hub_download(repository, file, tqdm_class=bar), reporter)
    raise LoadError("model_not_found", f"no model at {model}")


def _download(model: str, fetch: Callable[[type[Any]], str], reporter: Reporter) -> Path:
    try:
        return Path(fetch(_progress_bar(model, reporter)))
    except RepositoryNotFoundError as error:
        raise LoadError(
            "model_not_found", f"{model} is neither on this machine nor a model on the hub that you may read"
        ) from error
    except LocalEntryNotFoundError as error:
        raise LoadError("download_failed", f"{model} is not on this machine and the hub cannot be reached") from error
    except EntryNotFoundError as error:
        raise LoadError("model_not_found", f"{model} is not among the files of its repository on the hub") from error
    except OSError as error:  # A full disk, a refused folder, and every HTTP error of the hub's client.
        if error.errno is not None and error.filename is not None:
            reason = f"{error.filename} cannot be used ({errno.errorcode.get(error.errno, error.errno)})"
            raise LoadError(
                "download_failed", f"HF_HOME: {reason}, so {model} is not downloaded; name a folder that can be written"
            ) from error
        raise LoadError("download_failed", f"{model} could not be downloaded: {error}") from error


def _snapshot(model: str, half_precision: bool, bar: type[Any]) -> str:
    patterns = [*_SMALL_FILES, *_weight_patterns(model, half_precision)]
    return snapshot_download(model, allow_patterns=patterns, tqdm_class=bar)


def _weight_patterns(model: str, half_precision: bool) -> list[str]:
    wanted = ".fp16.safetensors" if half_precision and _publishes_half_precision(model) else ".safetensors"
    return [f"{folder}/*{wanted}" for folder in _WEIGHT_FOLDERS]


def _publishes_half_precision(model: str) -> bool:
    try:
        files = HfApi().model_info(model).siblings or []
    except RepositoryNotFoundError:
        raise
    except OSError:
        return True  # Offline: what is in the cache will be used, whatever it is.
    return any(file.rfilename.startswith("unet/") and ".fp16." in file.rfilename for file in files)


def _progress_bar(model: str, reporter: Reporter) -> type[Any]:
    """A tqdm class that reports instead of drawing: the hub's client shows its progress through one."""
    last_report = 0.0

    class ReportingBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal last_report
            done = super().update(n)
            now = time.monotonic()
            if self.unit == "B" and self.total and now - last_report >= _PROGRESS_INTERVAL_SECONDS:
                last_report = now
                reporter.loading(Loading(stage="download", progress=min(1.0, self.n / self.total), detail=model))
            return done

    return ReportingBar


class _Nowhere:
    """A file that swallows the drawn bar."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return
