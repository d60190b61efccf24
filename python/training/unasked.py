"""What an image shows that its prompt does not ask for, in plain image statistics.

Each is set so that true scenes are hardly ever accused; what it misses is in the README of this folder.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .judge import CHECKS, Case
from .pixels import Floats, band, box_blur, luma, mean_colour, patches, thumbnail
from .scenes.spec import Time

KINDS: Final = ("fog", "northern lights", "towers", "birds", "coloured thing")
"""What can turn up unasked; "fog" is any grey weather."""

_LEAST_COLOUR: Final[dict[Time, float]] = {
    "sunrise": 0.16, "morning": 0.19, "day": 0.40, "sunset": 0.30, "dusk": 0.40, "night": 0.44,
}  # fmt: skip
"""How colourful an open sky is at least; fog, rain, storm and snowfall are below it, in the morning half of them."""


def unasked(case: Case, image: Floats) -> tuple[str, ...]:
    """The kinds of things in an image (H x W x 3, 0 to 1) that its prompt does not ask for."""
    spec = case.spec
    has_thing = spec.thing == "none" and spec.weather != "rainbow" and has_coloured_thing(image)
    # Dark spots in the sky are birds, unless they are edges of something else that is there.
    may_have_birds = spec.thing == "none" and spec.ground != "city" and spec.weather not in ("storm", "rain", "aurora")
    kinds = (
        ("fog", spec.weather in ("clear", "clouds") and sky_colour(image) < _LEAST_COLOUR[spec.time]),
        # The upper part alone: green hills in a dark storm reach into the lower one.
        ("northern lights", spec.weather != "aurora" and CHECKS["aurora"](band(image, 0.0, 0.75))),
        ("towers", spec.ground != "city" and has_towers(image)),
        ("birds", may_have_birds and not has_thing and bird_count(image) > 0),
        ("coloured thing", has_thing),
    )
    return tuple(kind for kind, is_there in kinds if is_there)


def sky_colour(image: Floats) -> float:
    """Mean saturation of the sky, 0 (grey) to 1, whatever its brightness."""
    sky = band(image, 0.0, 0.45)
    return float(((sky.max(axis=2) - sky.min(axis=2)) / np.maximum(sky.max(axis=2), 0.08)).mean())


def has_towers(image: Floats) -> bool:
    """Whether there is a city, with straight walls or crooked ones: more upright edges than level ones, none green."""
    red, green, blue = mean_colour(band(image, 0.6, 0.95))
    brightness = luma(thumbnail(band(image, 0.62, 0.95), 4))
    upright, level = (float(np.abs(np.diff(brightness, axis=axis)).mean()) for axis in (1, 0))
    return (upright > 1.7 * level and green < max(red, blue)) or CHECKS["windows"](image)


def bird_count(image: Floats) -> int:
    """How many small dark places a bright sky has."""
    brightness = luma(band(image, 0.04, 0.42))
    if brightness.mean() < 0.2:
        return 0
    around = box_blur(brightness, 15)
    is_dark = (around - brightness > 0.12) & (brightness < 0.65 * around)
    return sum(6 <= len(patch) <= 140 and np.ptp(patch[:, 1]) >= 4 for patch in patches(is_dark))


def has_coloured_thing(image: Floats) -> bool:
    """Whether there is something compact whose colour is neither the sky's nor the ground's.

    That is boats, houses, balloons, trees and lighthouses in most of their colours; warm ones are not seen at sunset.
    """
    cells = thumbnail(image, 4)
    colour = cells - luma(cells)[..., None]
    beside = np.median(cells, axis=1, keepdims=True)
    distance = np.linalg.norm(colour - (beside - luma(beside)[..., None]), axis=2)
    for patch in patches((distance > 0.15) & (cells.max(axis=2) - cells.min(axis=2) > 0.25)):
        (top, left), (bottom, right) = patch.min(axis=0), patch.max(axis=0) + 1
        high, wide = bottom - top, right - left
        is_compact = 0.35 < wide / high < 1.9 and len(patch) > 0.42 * high * wide
        if not (20 <= len(patch) <= 480 and high >= 5 and wide <= 28 and is_compact):
            continue
        sides = [colour[top:bottom, max(0, left - 4) : left], colour[top:bottom, right : right + 4]]
        rim = np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0)
        contrast = float(np.linalg.norm(colour[patch[:, 0], patch[:, 1]].mean(axis=0) - rim))
        # The sun and gaps between clouds differ from the sky beside them by up to 0.3.
        if contrast > (0.35 if patch[:, 0].mean() < 0.5 * len(cells) else 0.22):
            return True
    return False
