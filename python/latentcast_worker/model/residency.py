"""What a small card cannot hold all the time: chosen at load from the memory that is left once the weights are there.

SDXL at 1024 x 1024 has 7 GB of weights in fp16 and needs about 3 GB to work in, of which decoding takes the most. A
card of 8 GB has room for one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Memory beside the weights, by pixels of the native size. 10 GB in all is what SDXL at 1024 x 1024 takes.
WORKING_BYTES_PER_PIXEL = 3 * 1024

# Of a tile's sides, in latents: a quarter of a 1024-pixel image. diffusers' own 128 would not cut such an image at all.
TILE = 64


@dataclass(frozen=True, slots=True)
class Residency:
    """What leaves the card, or is done in parts, so that an image of the native size fits."""

    encoders_rest: bool = False
    """The text encoders are on the card only while they encode: a few tenths of a second more for a new prompt."""
    tiles_vae: bool = False
    """The VAE works on tiles, whose seams are blended: images differ a little from those of a larger card."""

    def __str__(self) -> str:
        parts = {"text encoders wait in host memory": self.encoders_rest, "the VAE works in tiles": self.tiles_vae}
        return ", ".join(part for part, used in parts.items() if used)


def plan_residency(free_bytes: int | None, encoder_bytes: int, pixels: int) -> Residency:
    """`free_bytes` with all weights on the card; None for a device without memory of its own."""
    needed = pixels * WORKING_BYTES_PER_PIXEL
    if free_bytes is None or free_bytes >= needed:
        return Residency()
    return Residency(encoders_rest=True, tiles_vae=free_bytes + encoder_bytes < needed)


def bytes_of(modules: Sequence[nn.Module]) -> int:
    """Of all their parameters and buffers."""
    return sum(tensor.nbytes for module in modules for tensor in [*module.parameters(), *module.buffers()])


def tile_vae(vae: Any) -> None:
    """Decodes and encodes in tiles from now on, whatever is larger than one."""
    vae.enable_tiling()
    vae.tile_latent_min_size = TILE
    vae.tile_sample_min_size = TILE * 2 ** (len(vae.config.block_out_channels) - 1)


class RestingModules:
    """Modules whose weights are in host memory, and on the device only while they are used.

    The host keeps its copy, so that leaving the device copies nothing.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device) -> None:
        self._device = device
        self._resting = [
            (part, name, tensor.to("cpu"))
            for module in modules
            for part in module.modules()
            for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        ]
        self._rest()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        try:
            for part, name, tensor in self._resting:
                _put(part, name, tensor.to(self._device))
            yield
        finally:
            self._rest()

    def _rest(self) -> None:
        for part, name, tensor in self._resting:
            _put(part, name, tensor)


def _put(part: nn.Module, name: str, tensor: Tensor) -> None:
    is_parameter = isinstance(getattr(part, name), nn.Parameter)
    setattr(part, name, nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor)
