"""What a LoRA adds to one layer, as few numbers as it takes: two kinds, which all formats come down to.

LoRA and LoCon are low-rank as they are. So is LoHa: the elementwise product of two matrices of rank r has rank r * r
at most, and its factors are the products of the rows and columns. LoKr is a Kronecker product, which need not be
multiplied out. Tucker cores are multiplied into the factor that goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .keys import Role

# LoHa multiplies two ranks; more than this is more work than the layer itself.
MAX_RANK = 1024


class FactorsError(ValueError):
    """The tensors do not make an addition to the layer; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """`down` (rank, in) or (rank, in, height, width) of the kernel, `up` (out, rank)."""

    down: Tensor
    up: Tensor

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.up.shape[0], *self.down.shape[1:])

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.down, self.up

    def to(self, dtype: torch.dtype) -> LowRank:
        return LowRank(self.down.to(dtype), self.up.to(dtype))


@dataclass(frozen=True, slots=True)
class Kronecker:
    """`left` (a, b), `right` (c, d) or (c, d, height, width): the weight is their Kronecker product (a c, b d, ...)."""

    left: Tensor
    right: Tensor

    @property
    def weight_shape(self) -> tuple[int, ...]:
        rows, columns = (left * right for left, right in zip(self.left.shape, self.right.shape[:2], strict=True))
        return (rows, columns, *self.right.shape[2:])

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.left, self.right

    def to(self, dtype: torch.dtype) -> Kronecker:
        return Kronecker(self.left.to(dtype), self.right.to(dtype))


Factors: TypeAlias = LowRank | Kronecker
Parts: TypeAlias = Mapping[Role, Tensor]


def factors_of(parts: Parts, shape: tuple[int, ...], alpha: float | None = None) -> Factors:
    """What the tensors of one layer, whose weight has this shape, add to it. fp32 in, fp32 out.

    `alpha` stands in where the tensors have none; without either the scale is 1. Raises FactorsError.
    """
    if "alpha" in parts:
        if parts["alpha"].numel() != 1:
            raise FactorsError("its alpha is not one number")
        alpha = float(parts["alpha"])
    try:
        factors = _combine(parts, shape[2:], alpha)
    except RuntimeError as error:
        raise FactorsError("its tensors do not fit each other") from error
    if factors.weight_shape != shape:
        raise FactorsError(f"it is made for a weight of {_sides(factors.weight_shape)}, not {_sides(shape)}")
    return factors


def _combine(parts: Parts, kernel: tuple[int, ...], alpha: float | None) -> Factors:
    if parts.keys() & {"down", "up"}:
        down, up = _low_rank(parts, kernel)
        return LowRank(down, up * _scale(alpha, down.shape[0]))
    if any(role.startswith("hada") for role in parts):
        (first_down, first_up), (second_down, second_up) = (_hada(parts, number, kernel) for number in (1, 2))
        rank = first_down.shape[0]
        if rank * second_down.shape[0] > MAX_RANK:
            raise FactorsError(f"its rank {rank} is too large")
        # Khatri-Rao products: each pair of a row of one and a row of the other.
        down = (first_down[:, None] * second_down[None]).flatten(0, 1)
        up = (first_up[:, :, None] * second_up[:, None]).flatten(1)
        return LowRank(down, up * _scale(alpha, rank))
    return _kronecker(parts, kernel, alpha)


def _low_rank(parts: Parts, kernel: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    down, up = _part(parts, "down"), _matrix(_part(parts, "up"))
    if down.shape[0] > MAX_RANK:
        raise FactorsError(f"its rank {down.shape[0]} is too large")
    if "mid" in parts:
        # (rank, rank, height, width), between two 1 x 1 convolutions.
        return torch.einsum("pqhw,qi->pihw", parts["mid"], _matrix(down)), up
    return _with_kernel(down, kernel), up


def _hada(parts: Parts, number: int, kernel: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """One of the two matrices whose elementwise product LoHa is, as (down, up)."""
    first, second = ("hada_w1_a", "hada_w1_b") if number == 1 else ("hada_w2_a", "hada_w2_b")
    up, down = _part(parts, first), _part(parts, second)
    core = parts.get("hada_t1" if number == 1 else "hada_t2")
    if core is not None:
        return torch.einsum("ijhw,jr->irhw", core, down), up.T
    return _with_kernel(down, kernel), up


def _kronecker(parts: Parts, kernel: tuple[int, ...], alpha: float | None) -> Kronecker:
    rank: int | None = None
    if "lokr_w1" in parts:
        left = parts["lokr_w1"]
    else:
        up, down = _part(parts, "lokr_w1_a"), _part(parts, "lokr_w1_b")
        left, rank = up @ down, down.shape[0]
    if "lokr_w2" in parts:
        right = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        up, down = _part(parts, "lokr_w2_a"), _part(parts, "lokr_w2_b")
        right, rank = torch.einsum("ijhw,jr,ip->prhw", parts["lokr_t2"], down, up), down.shape[0]
    else:
        up, down = _part(parts, "lokr_w2_a"), _part(parts, "lokr_w2_b")
        right, rank = up @ down.flatten(1), down.shape[0]
    # Without low-rank parts LyCORIS does not divide by a rank, and its alpha says nothing.
    scale = 1.0 if rank is None else _scale(alpha, rank)
    return Kronecker(_matrix(left) * scale, _with_kernel(right, kernel))


def _part(parts: Parts, role: Role) -> Tensor:
    if role not in parts:
        raise FactorsError(f"its {role} is missing")
    return parts[role]


def _scale(alpha: float | None, rank: int) -> float:
    return 1.0 if alpha is None else alpha / rank


def _matrix(tensor: Tensor) -> Tensor:
    """Without the ends of a 1 x 1 kernel."""
    if tensor.ndim < 2 or tensor[0, 0].numel() != 1:
        raise FactorsError(f"its {_sides(tuple(tensor.shape))} is not a matrix")
    return tensor.reshape(tensor.shape[:2])


def _with_kernel(tensor: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """(rank, in * height * width) or with its sides apart -> (rank, in, height, width), or (rank, in) for no kernel."""
    if tensor.ndim < 2:
        raise FactorsError(f"its {_sides(tuple(tensor.shape))} is not a matrix")
    return tensor.reshape(tensor.shape[0], -1, *kernel)


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape) or "number"
