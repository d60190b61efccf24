"""Where the parts of a model come from: a diffusers folder, or a single file (`checkpoint`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ..protocol import Loading
from .checkpoint.header import read_header
from .dtypes import Dtypes
from .port import LoadError, Reporter
from .settings import ModelSettings, read_settings

ConfiguredPart: TypeAlias = Literal["unet", "vae"]


class ModelParts(Protocol):
    """The parts of one model, each loaded by its call. All raise LoadError `model_invalid` and name the part."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """What the model calls itself, beside the name that it was loaded by; empty if it does not say."""
        ...

    @property
    def settings(self) -> ModelSettings: ...

    @property
    def folder(self) -> Path:
        """What the paths in `settings` are relative to."""
        ...

    @property
    def in_channels(self) -> int:
        """Input channels of the UNet, known before it is loaded."""
        ...

    def config(self, part: ConfiguredPart) -> Mapping[str, Any]:
        """What a part is built by, read without loading it."""
        ...

    def weight_bytes(self, dtypes: Dtypes) -> int:
        """What the weights take once they are loaded, known before that."""
        ...

    def tokenizers(self) -> tuple[Any, Any]: ...

    def text_encoders(self, dtype: torch.dtype) -> tuple[Any, Any]: ...

    def unet(self, dtype: torch.dtype) -> Any: ...

    def vae(self, dtype: torch.dtype) -> Any: ...

    def scheduler(self) -> Any: ...


class FolderParts:
    """The parts of a diffusers folder."""

    COUNT = 7
    title = ""

    def __init__(self, folder: Path, device: torch.device, reporter: Reporter) -> None:
        """Reads the settings. Raises LoadError for settings that cannot be understood."""
        self.folder = folder
        self.settings = read_settings(folder)
        self._device = device
        self._reporter = reporter
        self._loaded = 0

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def in_channels(self) -> int:
        return int(self.config("unet").get("in_channels", 4))

    def config(self, part: ConfiguredPart) -> Mapping[str, Any]:
        kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
        return self._guarded(part, lambda folder: kind.load_config(folder))

    def weight_bytes(self, dtypes: Dtypes) -> int:
        return sum(
            self._guarded(name, partial(_stored_numbers, dtype=dtype)) * dtype.itemsize
            for name, dtype in (
                ("text_encoder", dtypes.unet),
                ("text_encoder_2", dtypes.unet),
                ("unet", dtypes.unet),
                ("vae", dtypes.vae),
            )
        )

    def tokenizers(self) -> tuple[Any, Any]:
        first, second = (self._load(name, CLIPTokenizer.from_pretrained) for name in ("tokenizer", "tokenizer_2"))
        return first, second

    def text_encoders(self, dtype: torch.dtype) -> tuple[Any, Any]:
        first = self._weights(CLIPTextModel, "text_encoder", dtype)
        return first, self._weights(CLIPTextModelWithProjection, "text_encoder_2", dtype)

    def unet(self, dtype: torch.dtype) -> Any:
        return self._weights(UNet2DConditionModel, "unet", dtype)

    def vae(self, dtype: torch.dtype) -> Any:
        return self._weights(AutoencoderKL, "vae", dtype)

    def scheduler(self) -> Any:
        def load(folder: Path) -> Any:
            config = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
            return getattr(diffusers, config["_class_name"]).from_config(config)

        return self._load("scheduler", load)

    def _weights(self, kind: Any, name: str, dtype: torch.dtype) -> Any:
        part = self._load(name, lambda folder: load_folder(kind, folder, dtype))
        return part.to(self._device).eval()

    def _load(self, name: str, load: Callable[[Path], Any]) -> Any:
        self._reporter.loading(Loading(stage="weights", progress=self._loaded / self.COUNT, detail=name))
        self._loaded += 1
        return self._guarded(name, load)

    def _guarded(self, name: str, load: Callable[[Path], Any]) -> Any:
        try:
            return load(self.folder / name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoadError("model_invalid", f"{name} of {self.name} cannot be loaded: {error}") from error


def load_folder(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A part with weights from its folder, from safetensors only."""
    # Both libraries call it differently: transformers took over `dtype`, diffusers still says `torch_dtype`.
    key = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
    return kind.from_pretrained(folder, variant=_variant(folder, dtype), use_safetensors=True, **{key: dtype})


def _stored_numbers(folder: Path, dtype: torch.dtype) -> int:
    """How many numbers the files hold that a part is loaded from."""
    half = _variant(folder, dtype) is not None
    files = [path for path in folder.glob("*.safetensors") if (".fp16" in path.name) == half]
    return sum(info.count for path in files for info in read_header(path).tensors.values())


def _variant(folder: Path, dtype: torch.dtype) -> str | None:
    """`fp16` where the folder has such files and they are wanted, or all there is."""
    files = {path.name for path in folder.glob("*.safetensors")}
    half = {name for name in files if ".fp16" in name}
    return "fp16" if half and (dtype != torch.float32 or half == files) else None
