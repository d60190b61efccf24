"""Water: a rippled mirror of what is above the waterline, with the glitter path of sun or moon."""

from __future__ import annotations

import numpy as np

from .canvas import Picture, Rgb, add_light, blend, noise, smoothstep
from .sky import Light


def paint_water(
    picture: Picture,
    waterline: float,
    light: Light,
    deep: Rgb,
    rng: np.random.Generator,
    *,
    ripple: float,
    body_share: float,
) -> None:
    """Fill everything below row ``waterline`` with water.

    Args:
        deep: the water's own colour; it shows more near the bottom edge.
        ripple: how far reflections are shaken sideways, in pixels at the bottom edge.
        body_share: strength of the glitter path under sun or moon, 0 to 1.
    """
    height, width = picture.shape[:2]
    top = round(waterline)
    if top >= height - 1:
        return
    depth = np.arange(height - top, dtype=np.float32)
    share = depth / np.float32(max(height - top, 1))
    waves = noise(rng, height - top, width, 26, 4.0 * width / 256, 3) - 0.5
    mirror_rows = np.clip(top - 1 - depth * (top / max(height - top, top)), 0, top - 1)
    rows = np.clip(mirror_rows[:, None] + waves * (6 + 50 * share[:, None]), 0, top - 1).astype(np.intp)
    columns = np.arange(width)[None, :] + waves * np.float32(ripple) * (0.3 + share[:, None])
    columns = np.clip(columns, 0, width - 1).astype(np.intp)
    reflection = picture[rows, columns]
    paint = np.asarray(deep, np.float32)
    own = (0.22 + 0.45 * share)[:, None, None]
    water = reflection * (1.0 - own) * 0.92 + paint * own
    water *= (1.0 + 0.55 * waves * (0.25 + share[:, None]))[..., None]
    picture[top:] = np.clip(water, 0.0, 1.0)
    if light.body_x is not None and body_share > 0:
        _glitter(picture[top:], light, share, waves, body_share)


def _glitter(water: Picture, light: Light, share: np.ndarray, waves: np.ndarray, strength: float) -> None:
    width = water.shape[1]
    columns = np.arange(width, dtype=np.float32)[None, :]
    spread = np.float32(width) * (0.05 + 0.10 * share[:, None])
    path = np.exp(-(((columns - np.float32(light.body_x or 0.0)) / spread) ** 2))
    sparkle = smoothstep(-0.06, 0.14, waves)
    add_light(water, light.glow, np.float32(strength) * path * (0.22 + 0.78 * sparkle) * (1.0 - 0.45 * share[:, None]))


def haze_line(picture: Picture, waterline: float, light: Light) -> None:
    """Soften the far edge of the water with a thin band of haze."""
    rows = np.arange(picture.shape[0], dtype=np.float32)[:, None] + 0.5
    band = 0.5 * np.exp(-np.abs(rows - np.float32(waterline)) / np.float32(picture.shape[0] * 0.012))
    blend(picture, light.haze, np.broadcast_to(band, picture.shape[:2]).astype(np.float32))
