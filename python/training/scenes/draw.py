"""Draw a scene: sky, ground, stars, foreground thing, weather, a little tone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import Picture
from .ground import HORIZON, paint_ground
from .sky import paint_sky, paint_stars
from .spec import SceneSpec
from .things import paint_thing
from .weather import paint_lightning, paint_weather


def draw_scene(spec: SceneSpec, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a scene.

    The same spec and size give the same pixels.

    Args:
        spec: what to draw.
        height, width: the picture's size in pixels, at least 64 each.

    Returns:
        ``height`` x ``width`` x 3 sRGB bytes.

    Raises:
        ValueError: if the picture would be smaller than 64 pixels on a side.
    """
    if height < 64 or width < 64:
        raise ValueError(f"a scene needs at least 64 x 64 pixels, not {width} x {height}")
    rng = np.random.default_rng(spec.seed)
    picture: Picture = np.empty((height, width, 3), np.float32)
    low, high = HORIZON[spec.ground]
    horizon = height * float(rng.uniform(low, high))
    light = paint_sky(picture, spec, horizon, rng)
    if spec.weather == "storm" and rng.random() < 0.75:
        paint_lightning(picture, horizon, rng)
    sky = picture.copy()
    paint_ground(picture, spec, horizon, light, rng)
    paint_stars(picture, sky, spec, horizon, rng)
    paint_thing(picture, spec, horizon, light, rng)
    paint_weather(picture, spec, horizon, light, rng)
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
