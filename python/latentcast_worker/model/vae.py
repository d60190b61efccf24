"""Decoders that are named apart from the model: another VAE, and the tiny one of the previews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from ..protocol import Loading
from .checkpoint.parts import load_vae_file
from .hub import find_model
from .parts import load_folder
from .port import LoadError, Reporter


def load_vae(
    name: str, dtype: torch.dtype, device: torch.device, reporter: Reporter, configs: Path, *, half_precision: bool
) -> Any:
    """A VAE by hub id, folder or file; `half_precision` as in `find_model`. Raises LoadError."""
    path = find_model(name, reporter, half_precision=half_precision)
    reporter.loading(Loading(stage="weights", progress=None, detail="vae"))
    if path.is_file():
        return load_vae_file(path, dtype, device, reporter, configs)
    inside = path / "vae"
    try:
        vae = load_folder(AutoencoderKL, inside if inside.is_dir() else path, dtype)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError("model_invalid", f"the VAE {name} cannot be loaded: {error}") from error
    return vae.to(device).eval()


def load_tiny_vae(
    name: str,
    dtype: torch.dtype,
    device: torch.device,
    factor: int,
    reporter: Reporter,
) -> Any | None:
    """The tiny decoder, or None with a warning: without it previews come from the linear map.

    `factor` is pixels per latent along each side.
    """
    try:
        tiny = load_folder(AutoencoderTiny, find_model(name, reporter, half_precision=False), dtype)
    except (LoadError, OSError, ValueError) as error:
        reporter.log("warn", f"no tiny decoder, previews will be linear: {error}")
        return None
    if 2 ** (len(tiny.config.decoder_block_out_channels) - 1) != factor:
        reporter.log("warn", "the tiny decoder does not fit the model's VAE, previews will be linear")
        return None
    return tiny.to(device, memory_format=torch.channels_last).eval()
