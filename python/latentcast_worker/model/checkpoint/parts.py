"""The parts of a single-file checkpoint, loaded one after the other straight to the device."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ...protocol import Loading
from ..dtypes import Dtypes
from ..parts import ConfiguredPart
from ..port import Reporter
from ..settings import ModelSettings
from .convert import FilePart, diffusers_vae_part, text_encoder_2_part, text_encoder_part, unet_part, vae_part
from .header import Header, invalid, read_header
from .kind import VAE, identify
from .prediction import prediction_options

SDXL_CONFIGS = Path(__file__).parent / "sdxl_base"

# How many numbers are copied between two reports: half a gigabyte in fp16, seconds on a slow disk.
_REPORT_ELEMENTS = 256 * 1024 * 1024


class CheckpointParts:
    """Parts of an SDXL checkpoint. `configs` is a diffusers folder without weights: what a file does not say itself."""

    def __init__(
        self,
        path: Path,
        device: torch.device,
        reporter: Reporter,
        configs: Path = SDXL_CONFIGS,
        *,
        is_for_now: bool = True,
    ) -> None:
        """Reads the header only. Raises LoadError for a file that is not SDXL, is damaged or incomplete.

        What is incomplete takes a second to find, and shows at the first part that is loaded unless it `is_for_now`.
        """
        self._header = read_header(path)
        self._kind = identify(self._header)
        self._device = device
        self._configs = configs
        self.name = path.name
        self.folder = path.parent
        self.title = self._header.metadata.get("modelspec.title", "")
        self.settings = ModelSettings(native_size=_resolution(self._header, path))
        self.in_channels = self._kind.in_channels
        self.has_vae = self._kind.has_vae
        self._copier = PartCopier(self._header, device, reporter)
        if is_for_now:
            self._parts  # noqa: B018  Raises.

    @cached_property
    def _parts(self) -> Mapping[str, FilePart]:
        """Without weights yet, each with a place in the file for everything it needs."""
        parts = _empty_parts(self._configs, self._kind.in_channels, has_vae=self.has_vae)
        for part in parts.values():
            part.check(self._header)
        return parts

    def config(self, part: ConfiguredPart) -> Mapping[str, Any]:
        return _config(self._configs, part, "config.json")

    def weight_bytes(self, dtypes: Dtypes) -> int:
        return sum(
            info.count * (dtypes.vae if name.startswith(VAE) else dtypes.unet).itemsize
            for name, info in self._header.tensors.items()
        )

    def tokenizers(self) -> tuple[Any, Any]:
        first, second = (CLIPTokenizer.from_pretrained(self._configs / name) for name in ("tokenizer", "tokenizer_2"))
        return first, second

    def text_encoders(self, dtype: torch.dtype) -> tuple[Any, Any]:
        return self._load("text_encoder", dtype), self._load("text_encoder_2", dtype)

    def unet(self, dtype: torch.dtype) -> Any:
        return self._load("unet", dtype)

    def vae(self, dtype: torch.dtype) -> Any:
        if not self.has_vae:
            raise invalid(self._header.path, "holds no VAE: name one with --vae")
        return self._load("vae", dtype)

    def scheduler(self) -> Any:
        config = _config(self._configs, "scheduler", "scheduler_config.json")
        options = {} if self._kind.prediction is None else prediction_options(self._kind.prediction)
        return EulerDiscreteScheduler.from_config(config, **options)

    def _load(self, name: str, dtype: torch.dtype) -> Any:
        return self._copier.load(self._parts[name], dtype)


def load_vae_file(path: Path, dtype: torch.dtype, device: torch.device, reporter: Reporter, configs: Path) -> Any:
    """A VAE from a file: one alone, in either layout, or the one of a whole checkpoint. Raises LoadError."""
    header = read_header(path)
    module = _empty_vae(configs)
    if header.has(*VAE):
        part = vae_part(module)
    elif header.has("decoder.up_blocks."):
        part = diffusers_vae_part(module)
    elif header.has("decoder.up."):
        part = vae_part(module, ("",))
    else:
        raise invalid(path, "holds no VAE that fits SDXL")
    part.check(header)
    return PartCopier(header, device, reporter).load(part, dtype)


class PartCopier:
    """Copies tensors of one file to the device and reports its progress."""

    def __init__(self, header: Header, device: torch.device, reporter: Reporter) -> None:
        self._header = header
        self._device = device
        self._reporter = reporter
        self._total = sum(info.count for info in header.tensors.values())
        self._copied = 0

    def load(self, part: FilePart, dtype: torch.dtype) -> Any:
        """The part's module with its weights in `dtype` on the device. Its names have been checked."""
        self._report(part.name)
        try:
            # Mapped, not read: each tensor comes from the disk while it is copied.
            with safe_open(self._header.path, framework="pt") as file:
                given = part.convert({name: file.get_tensor(name) for name in part.names(self._header)})
            weights = {name: self._copy(part.name, given[name], dtype) for name in part.module.state_dict()}
        except (OSError, ValueError, KeyError) as error:
            raise invalid(self._header.path, f"cannot be loaded, its {part.name} is damaged: {error}") from error
        part.module.requires_grad_(False)
        part.module.load_state_dict(weights, assign=True)
        return part.module.to(self._device).eval()

    def _copy(self, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        # A copy even where nothing changes: weights must not lie in a file that somebody may replace.
        copied = tensor.to(self._device, dtype, copy=True)
        before = self._copied
        self._copied += tensor.numel()
        if before // _REPORT_ELEMENTS != self._copied // _REPORT_ELEMENTS:
            self._report(name)
        return copied

    def _report(self, name: str) -> None:
        share = min(1.0, self._copied / max(1, self._total))
        self._reporter.loading(Loading(stage="weights", progress=share, detail=name))


def _resolution(header: Header, path: Path) -> tuple[int, int] | None:
    """Width and height that the model was trained for, None for SDXL's own."""
    said = re.fullmatch(r"(\d{3,4})x(\d{3,4})", header.metadata.get("modelspec.resolution", ""))
    if said:
        return int(said[1]), int(said[2])
    # Stability AI's Turbo says nothing; merges of it are used at SDXL's size.
    return (512, 512) if path.name.lower().startswith("sd_xl_turbo") else None


def _empty_parts(configs: Path, in_channels: int, *, has_vae: bool) -> Mapping[str, FilePart]:
    unet_config = {**_config(configs, "unet", "config.json"), "in_channels": in_channels}
    with init_empty_weights():
        parts = [
            text_encoder_part(CLIPTextModel(CLIPTextConfig.from_pretrained(configs / "text_encoder"))),
            text_encoder_2_part(
                CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(configs / "text_encoder_2"))
            ),
            unet_part(UNet2DConditionModel.from_config(unet_config)),
        ]
    if has_vae:
        parts.append(vae_part(_empty_vae(configs)))
    return {part.name: part for part in parts}


def _empty_vae(configs: Path) -> Any:
    with init_empty_weights():
        return AutoencoderKL.from_config(_config(configs, "vae", "config.json"))


def _config(configs: Path, folder: str, name: str) -> dict[str, Any]:
    return json.loads((configs / folder / name).read_text(encoding="utf-8"))
