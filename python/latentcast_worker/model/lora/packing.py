"""All factors of a LoRA in one block of memory: one copy to the device, and its size known before that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .factors import Factors
from .file import AdapterParts

# In values. Every tensor begins at a multiple, so that kernels may read it in their widest words.
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """Factors on the CPU, as views of `block`."""

    parts: AdapterParts
    block: Tensor

    @property
    def size(self) -> int:
        """In bytes."""
        return self.block.nbytes

    def on(self, device: torch.device) -> AdapterParts:
        """The same on a device, as views of one block there."""
        block = self.block.to(device)
        return _mapped(self.parts, lambda view: block.as_strided(view.shape, view.stride(), view.storage_offset()))


def pack(parts: AdapterParts, dtype: torch.dtype) -> Packed:
    block = torch.zeros(sum(_room(tensor) for tensor in _tensors(parts)), dtype=dtype)
    start = 0

    def move(tensor: Tensor) -> Tensor:
        nonlocal start
        view = block[start : start + tensor.numel()].view(tensor.shape).copy_(tensor)
        start += _room(tensor)
        return view

    return Packed(_mapped(parts, move), block)


def _tensors(parts: AdapterParts) -> list[Tensor]:
    return [tensor for layers in parts.values() for factors in layers.values() for tensor in factors.tensors]


def _mapped(parts: AdapterParts, change: Callable[[Tensor], Tensor]) -> AdapterParts:
    def each(factors: Factors) -> Factors:
        first, second = (change(tensor) for tensor in factors.tensors)
        return type(factors)(first, second)

    return {component: {name: each(factors) for name, factors in layers.items()} for component, layers in parts.items()}


def _room(tensor: Tensor) -> int:
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
