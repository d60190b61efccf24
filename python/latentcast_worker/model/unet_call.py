"""The UNet as a function: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

UNetInputs: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Latents, timesteps, token embeddings, pooled embeddings and time ids, one row each."""

UNetCall: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""UNetInputs, one by one -> the predicted noise, one row each."""
