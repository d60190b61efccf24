"""Layers that add LoRAs to single rows of a call.

The model itself is never touched. Its twin has the same weights, the very same tensors, in layers of its own, and is
called where a row has a LoRA. So a call without one is what it always was, nothing is switched between two calls, and
rows with different LoRAs, or none, go through one call: what is added is computed for the rows that have it.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .factors import Factors, Kronecker


@dataclass(frozen=True, slots=True)
class Addition:
    """What one LoRA adds to the layers of a module, by their names, times `scale`."""

    factors: Mapping[str, Factors]
    scale: float


@dataclass(frozen=True, slots=True)
class AdaptedRows:
    """The rows from `start` up to `stop` of a call, and what is added to them in this order."""

    start: int
    stop: int
    additions: Sequence[Addition]

    @property
    def identity(self) -> Hashable:
        """Equal for rows to which the very same tensors are added at the same scales, while these live."""
        return self.start, self.stop, tuple((id(addition.factors), addition.scale) for addition in self.additions)


class AdaptedModule:
    """A module's twin. It is called by one thread."""

    def __init__(self, module: Any) -> None:
        tensors = (*module.parameters(), *module.buffers())
        # deepcopy takes what the memo has for copied: everything is new but the weights.
        self.module: Any = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
        self._call = _Call()
        for name, part in self.module.named_modules():
            if type(part) is nn.Linear:
                part.__class__ = AdaptedLinear
            elif type(part) is nn.Conv2d:
                part.__class__ = AdaptedConv2d
            else:
                continue
            adapted: Any = part
            adapted.name_in_module, adapted.call = name, self._call

    @contextmanager
    def using(self, rows: Sequence[AdaptedRows]) -> Iterator[Any]:
        """The twin, which adds to these rows meanwhile."""
        before, self._call.rows = self._call.rows, rows
        try:
            yield self.module
        finally:
            self._call.rows = before


class _Call:
    """What all layers of a twin share: the rows of the call under way."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: Sequence[AdaptedRows] = ()

    def __deepcopy__(self, _memo: object) -> _Call:
        return self

    def factors_of(self, name: str) -> Iterator[tuple[slice, Factors, float]]:
        """What a layer adds in this call: to which rows, with which factors, at which scale."""
        for rows in self.rows:
            for addition in rows.additions:
                factors = addition.factors.get(name)
                if factors is not None:
                    yield slice(rows.start, rows.stop), factors, addition.scale


class AdaptedLinear(nn.Linear):
    name_in_module: str
    call: _Call

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        for rows, factors, scale in self.call.factors_of(self.name_in_module):
            _add_linear(factors, scale, input[rows], output[rows])
        return output


class AdaptedConv2d(nn.Conv2d):
    name_in_module: str
    call: _Call

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        for rows, factors, scale in self.call.factors_of(self.name_in_module):
            output[rows].add_(self._added(factors, input[rows]), alpha=scale)
        return output

    def _added(self, factors: Factors, input: Tensor) -> Tensor:
        if isinstance(factors, Kronecker):
            blocks = factors.left.shape[1]
            rows = self._convolve(input.unflatten(1, (blocks, -1)).flatten(0, 1), factors.right)
            each = rows.unflatten(0, (-1, blocks)).flatten(2)
            return (factors.left @ each).reshape(len(input), -1, *rows.shape[2:])
        hidden = self._convolve(input, factors.down)
        return functional.conv2d(hidden, factors.up[:, :, None, None])

    def _convolve(self, input: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(input, weight, None, self.stride, self.padding, self.dilation)


def _add_linear(factors: Factors, scale: float, input: Tensor, output: Tensor) -> None:
    """Adds in place. Both have one row each and (…, channels) behind it; all rows are one matrix here."""
    matrix = output.view(-1, output.shape[-1])
    flat = input.reshape(-1, input.shape[-1])
    if isinstance(factors, Kronecker):
        each = flat.unflatten(-1, (factors.left.shape[1], -1)) @ factors.right.T
        matrix.add_((factors.left @ each).flatten(1), alpha=scale)
    else:
        torch.addmm(matrix, flat @ factors.down.T, factors.up.T, alpha=scale, out=matrix)
