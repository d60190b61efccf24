"""Latents of the scenes, computed once before the diffusion training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from .autoencoder import scaled_latents, to_pixels
from .config import Bucket, Recipe
from .dataset import load_pictures
from .scenes.spoil import degrade

_CHUNK = 16


def latents_path(folder: Path, bucket: Bucket) -> Path:
    """Where the latents of a bucket are cached."""
    return folder / f"latents-{bucket.name}.npy"


def degraded_path(folder: Path) -> Path:
    """Where the latents of the spoiled pictures are cached."""
    return folder / "latents-degraded.npy"


def encode_all(recipe: Recipe, folder: Path, model: AutoencoderKL) -> None:
    """Encode every bucket, and some spoiled pictures of native size, that are not on disk yet."""
    for bucket in recipe.buckets:
        path = latents_path(folder, bucket)
        if not path.exists():
            _encode(load_pictures(folder, bucket), path, model)
    if not degraded_path(folder).exists():
        rng = np.random.default_rng((recipe.seed, 7))
        sound = load_pictures(folder, recipe.buckets[0])[: recipe.degraded]
        _encode(np.stack([degrade(picture, rng) for picture in sound]), degraded_path(folder), model)


def _encode(pictures: NDArray[np.uint8], path: Path, model: AutoencoderKL) -> None:
    count, height, width = pictures.shape[:3]
    result = np.empty((count, 4, height // 8, width // 8), np.float32)
    for start in range(0, count, _CHUNK):
        pixels = to_pixels(pictures[start : start + _CHUNK])
        result[start : start + _CHUNK] = scaled_latents(model, pixels).numpy()
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        np.save(file, result)
    os.replace(temporary, path)
