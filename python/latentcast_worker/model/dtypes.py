"""The dtypes of a model's parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Dtypes:
    """Of the UNet and the text encoders, of the VAE, and of the tiny decoder."""

    unet: torch.dtype
    vae: torch.dtype
    tiny: torch.dtype
