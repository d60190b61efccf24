"""The images that a job starts from, and how many of its steps that leaves to run. Nothing here knows a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .protocol import GenerationParams, ImageSize, InputSizes


@dataclass(frozen=True, slots=True)
class InputImages:
    """`image` (height, width, 3) RGB8; `mask` (height, width), 128 and more where the image is to change."""

    image: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None

    @classmethod
    def read(cls, sizes: InputSizes, payload: Sequence[bytes]) -> InputImages:
        """Views of the payload frames of a command, whose sizes have been checked."""
        frames = iter(payload)
        image = None if sizes.image is None else _array(next(frames), (sizes.image.height, sizes.image.width, 3))
        mask = None if sizes.mask is None else _array(next(frames), (sizes.mask.height, sizes.mask.width))
        return cls(image, mask)


def executed_steps(params: GenerationParams) -> int:
    """The steps that run, by diffusers' rule: the last `strength` of them. 50 at 0.58 are 28, as floats have it."""
    steps = params.num_inference_steps
    return steps if params.strength is None else min(int(steps * params.strength), steps)


def inputs_problem(params: GenerationParams, sizes: InputSizes) -> str | None:
    """Why these parameters and these images do not go together; None when they do."""
    if sizes.image is None:
        alone = [name for name, value in (("mask", sizes.mask), ("strength", params.strength)) if value is not None]
        return f"{alone[0]} needs an image" if alone else None
    if params.strength is None:
        return "an image needs strength"
    wanted = ImageSize(width=params.width, height=params.height)
    for name, size in (("image", sizes.image), ("mask", sizes.mask)):
        if size is not None and size != wanted:
            return f"{name} is {size.width}x{size.height} and not {wanted.width}x{wanted.height}"
    if executed_steps(params) < 1:
        least = math.ceil(1000 / params.num_inference_steps) / 1000
        return f"strength {params.strength} runs none of {params.num_inference_steps} steps; at least {least} is needed"
    return None


def _array(frame: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(frame, np.uint8).reshape(shape)
