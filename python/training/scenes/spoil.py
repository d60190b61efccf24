"""Spoiled pictures, which negative prompts are about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def degrade(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Spoil a picture (H x W x 3 bytes): blurred, dull, sometimes noisy."""
    blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4.5))))
    values = np.asarray(blurred, np.float32) / 255.0
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * rng.uniform(0.25, 0.8)
    values = 0.5 + (values - 0.5) * rng.uniform(0.5, 0.9)
    if rng.random() < 0.4:
        values = values + rng.normal(0.0, rng.uniform(0.02, 0.07), values.shape)
    return (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
