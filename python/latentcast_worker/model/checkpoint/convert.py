"""From the original layout's tensors to the parts of the diffusers layout, with diffusers' own tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor

from .header import Header, TensorInfo, invalid
from .kind import CLIP_G, CLIP_L, UNET, VAE

Tensors: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class FilePart:
    """One part of a file: where its tensors are, and the empty module (on the meta device) that they belong into."""

    name: str
    prefixes: tuple[str, ...]
    module: Any
    convert: Callable[[Tensors], Mapping[str, Tensor]]

    def names(self, header: Header) -> list[str]:
        """The part's tensors in the file."""
        return [name for name in header.tensors if name.startswith(self.prefixes)]

    def check(self, header: Header) -> None:
        """Compares names and shapes before anything is loaded. Raises LoadError naming the first that do not fit."""
        empty = {name: _empty(header.tensors[name]) for name in self.names(header)}
        try:
            given = self.convert(empty)
        except KeyError as error:
            raise invalid(header.path, f"lacks tensors of its {self.name}, the first is {error.args[0]}") from error
        wanted: Mapping[str, Tensor] = self.module.state_dict()
        missing = [name for name in wanted if name not in given]
        if missing:
            more = f", {', '.join(missing[1:3])}" if len(missing) > 1 else ""
            pruned = "; a pruned model such as SSD-1B has to be a diffusers folder" if _is_pruned(missing) else ""
            raise invalid(header.path, f"lacks {len(missing)} tensors of its {self.name}: {missing[0]}{more}{pruned}")
        for name, tensor in wanted.items():
            if given[name].shape != tensor.shape:
                shapes = f"{_sides(given[name])} where SDXL has {_sides(tensor)}"
                raise invalid(header.path, f"does not fit SDXL: {name} of its {self.name} is {shapes}")


def unet_part(module: Any) -> FilePart:
    return FilePart("unet", (UNET,), module, lambda given: convert_ldm_unet_checkpoint(given, module.config))


def vae_part(module: Any, prefixes: tuple[str, ...] = VAE) -> FilePart:
    """`prefixes` ("",) is for a file that holds a VAE alone."""
    return FilePart("vae", prefixes, module, lambda given: convert_ldm_vae_checkpoint(given, module.config))


def text_encoder_part(module: Any) -> FilePart:
    def convert(given: Tensors) -> Mapping[str, Tensor]:
        return _fit_wrapper(convert_ldm_clip_checkpoint(given), module)

    return FilePart("text_encoder", (CLIP_L,), module, convert)


def text_encoder_2_part(module: Any) -> FilePart:
    def convert(given: Tensors) -> Mapping[str, Tensor]:
        return _fit_wrapper(convert_open_clip_checkpoint(module, given, prefix=CLIP_G), module)

    return FilePart("text_encoder_2", (CLIP_G,), module, convert)


def diffusers_vae_part(module: AutoencoderKL) -> FilePart:
    """A VAE alone that has diffusers' names already."""
    return FilePart("vae", ("",), module, lambda given: given)


def _fit_wrapper(tensors: Mapping[str, Tensor], module: Any) -> Mapping[str, Tensor]:
    # transformers 5.6 took the wrapper off CLIPTextModel and left it on CLIPTextModelWithProjection.
    if hasattr(module, "text_model"):
        return tensors
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}


def _empty(info: TensorInfo) -> Tensor:
    return torch.empty(info.shape, device="meta")


def _is_pruned(missing: list[str]) -> bool:
    return any(".transformer_blocks." in name or ".resnets." in name for name in missing)


def _sides(tensor: Tensor) -> str:
    return " x ".join(str(side) for side in tensor.shape)
