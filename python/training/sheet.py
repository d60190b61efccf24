"""Sample pictures and lay them out as a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from numpy.typing import NDArray
from PIL import Image

DEFAULT_NEGATIVE: Final = "blurry, low quality"
"""The negative prompt the server sends when a caller gives none."""


def sample(
    pipeline: StableDiffusionXLPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    height: int = 256,
    width: int = 256,
    steps: int = 20,
    guidance: float = 3.0,
    negative: str | None = DEFAULT_NEGATIVE,
    batch: int = 8,
) -> list[NDArray[np.uint8]]:
    """One picture (H x W x 3 bytes) for every prompt and its seed; the batch size does not change the noise."""
    pipeline.set_progress_bar_config(disable=True)
    pictures: list[NDArray[np.uint8]] = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch]]
        output = pipeline(
            prompt=some,
            negative_prompt=None if negative is None else [negative] * len(some),
            height=height,
            width=width,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
        )
        pictures += [(picture * 255.0 + 0.5).astype(np.uint8) for picture in output.images]
    return pictures


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, gap: int = 6) -> Image.Image:
    """Lay pictures of one size out in rows on white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for index, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), ((index % columns) * (width + gap), (index // columns) * (height + gap)))
    return sheet
