"""The UNet as a function: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

UNetInputs: TypeAlias = tuple[Tensor, ...]
"""Latents, timesteps, token embeddings, pooled embeddings and time ids, one row each.

A UNet that was distilled with guidance inside (`time_cond_proj_dim`) has a sixth: the embedding of the guidance scale.
"""

UNetCall: TypeAlias = Callable[..., Tensor]
"""UNetInputs, one by one -> the predicted noise, one row each.

Where rows have LoRAs, they are the keyword `adapted`: a sequence of AdaptedRows.
"""
