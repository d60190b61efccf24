"""The ground under the sky: one painter for each of the ten grounds."""

from __future__ import annotations

from typing import Final

import numpy as np

from .canvas import CELL, Picture, Rgb, below, blend, mix, noise, polygon, rgb, ridge, scale, smooth_ridge, smoothstep
from .city import paint_city
from .sky import Light
from .spec import Ground, SceneSpec
from .water import haze_line, paint_water

HORIZON: Final[dict[Ground, tuple[float, float]]] = {
    "sea": (0.54, 0.64),
    "lake": (0.52, 0.60),
    "beach": (0.46, 0.54),
    "mountains": (0.66, 0.74),
    "desert": (0.56, 0.64),
    "meadow": (0.54, 0.62),
    "hills": (0.56, 0.64),
    "forest": (0.58, 0.66),
    "city": (0.70, 0.78),
    "snow": (0.56, 0.64),
}
"""Where the horizon lies, as the lowest and highest share of the picture's height, counted from the top."""


def lit(colour: Rgb, light: Light, ambient: float = 0.16) -> Rgb:
    """Colour a thing takes on under the sky's light."""
    factor = ambient + (1.0 - ambient) * light.daylight
    return tuple(channel * factor * tint for channel, tint in zip(colour, light.tint, strict=True))  # type: ignore[return-value]


def paint_ground(picture: Picture, spec: SceneSpec, horizon: float, light: Light, rng: np.random.Generator) -> None:
    """Paint everything from row ``horizon`` down (mountains and towers also rise above it)."""
    match spec.ground:
        case "sea":
            _sea(picture, horizon, light, rng)
        case "lake":
            _lake(picture, horizon, light, rng)
        case "beach":
            _beach(picture, horizon, light, rng)
        case "mountains":
            _mountains(picture, horizon, light, rng)
        case "desert":
            _desert(picture, horizon, light, rng)
        case "meadow":
            _meadow(picture, horizon, light, rng)
        case "hills":
            _hills(picture, horizon, light, rng)
        case "forest":
            _forest(picture, horizon, light, rng)
        case "city":
            paint_city(picture, spec, horizon, light, rng)
        case "snow":
            _snow(picture, horizon, light, rng)


def _layer(picture: Picture, line: np.ndarray, near: Rgb, far: Rgb, rng: np.random.Generator, grain: float) -> None:
    """Paint a textured slab below ``line`` that runs from ``far`` at its edge to ``near`` at the bottom."""
    height, width = picture.shape[:2]
    mask = below(line, height)
    rows = np.arange(height, dtype=np.float32)[:, None]
    share = np.clip((rows - line[None, :]) / np.float32(height * 0.42), 0.0, 1.0)[..., None]
    paint = np.asarray(far, np.float32) * (1 - share) + np.asarray(near, np.float32) * share
    if grain > 0:
        paint = paint * (1.0 + grain * (noise(rng, height, width, 36, 14 * width / 256, 3) - 0.5))[..., None]
    blend(picture, np.clip(paint, 0.0, 1.0), mask)


def _sea(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    deep = lit(rgb("#0a4a78"), light, 0.10)
    paint_water(picture, horizon, light, deep, rng, ripple=14.0, body_share=0.95)
    haze_line(picture, round(horizon), light)


def _lake(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    far = horizon - height * (0.10 + 0.10 * np.abs(ridge(rng, width, 2.5, 5)) + 0.05 * ridge(rng, width, 5, 4))
    blend(picture, mix(lit(rgb("#5b7396"), light), light.haze, 0.45), below(far, height))
    shore = horizon - height * (0.035 + 0.02 * ridge(rng, width, 6, 5, 0.7))
    blend(picture, mix(lit(rgb("#24502f"), light), light.haze, 0.12), below(shore, height))
    paint_water(picture, horizon, light, lit(rgb("#1f6372"), light, 0.10), rng, ripple=4.0, body_share=0.55)
    bank = height * (0.945 + 0.03 * smooth_ridge(rng, width, 1.2))
    _layer(picture, bank, lit(rgb("#2c5a26"), light), lit(rgb("#4b7d33"), light), rng, 0.5)


def _beach(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    paint_water(picture, horizon, light, lit(rgb("#1789a8"), light, 0.10), rng, ripple=10.0, body_share=0.85)
    haze_line(picture, round(horizon), light)
    edge = height * (0.735 + 0.03 * smooth_ridge(rng, width, 1.0))
    rows = np.arange(height, dtype=np.float32)[:, None]
    for shift, strength in ((-0.045, 0.5), (-0.012, 0.95)):
        offset = (rows - edge[None, :]) / height - np.float32(shift)
        foam = np.exp(-((offset / 0.0095) ** 2)).astype(np.float32) * np.float32(strength)
        foam *= 0.45 + 0.55 * smoothstep(0.35, 0.6, noise(rng, height, width, 30, 20, 2))
        blend(picture, lit(rgb("#ffffff"), light, 0.25), foam)
    _layer(picture, edge, lit(rgb("#efd08c"), light), lit(rgb("#c69f62"), light), rng, 0.22)


def _mountains(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    rock = (rgb("#7d8fb3"), rgb("#586b91"), rgb("#3c4b6c"))
    air = mix(light.haze, light.top, 0.42)
    for layer in range(3):
        line = horizon - height * (
            (0.30, 0.17, 0.04)[layer] + (0.20, 0.15, 0.10)[layer] * ridge(rng, width, (3.0, 4.0, 5.0)[layer], 6, 0.48)
        )
        far = mix(lit(rock[layer], light), air, (0.50, 0.28, 0.08)[layer])
        mask = below(line, height)
        rows = np.arange(height, dtype=np.float32)[:, None]
        depth = (rows - line[None, :]) / height
        texture = noise(rng, height, width, 7, 15 * width / 256, 5) - 0.5
        step = max(2, width // 90)
        relief = np.clip((texture - np.roll(texture, step, axis=1)) * 5.0, -1.0, 1.0)
        paint = np.asarray(far, np.float32) * (1.0 + (0.30, 0.38, 0.34)[layer] * relief[..., None])
        paint = paint + np.clip(depth * 1.5, 0, 0.5)[..., None] * (np.asarray(air, np.float32) - paint) * 0.5
        blend(picture, np.clip(paint, 0, 1), mask)
        if layer < 2:
            reach = 0.035 + 0.16 * texture - 0.42 * (line[None, :] - line.min()) / height
            snow = mix(lit(rgb("#ffffff"), light, 0.25), air, (0.22, 0.12)[layer])
            shaded = np.asarray(snow, np.float32) * (1.0 + 0.16 * np.minimum(relief, 0.4)[..., None])
            blend(picture, np.clip(shaded, 0, 1), mask * smoothstep(0.006, -0.006, depth - np.float32(0.04) - reach))
    foot = height * (0.87 + 0.03 * smooth_ridge(rng, width, 1.4))
    _layer(picture, foot, lit(rgb("#2f5a2c"), light), lit(rgb("#3f6d3a"), light), rng, 0.5)


def _desert(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for layer in range(3):
        line = horizon + height * (
            (0.0, 0.11, 0.25)[layer] + (0.028, 0.045, 0.055)[layer] * smooth_ridge(rng, width, 1.6)
        )
        near = lit((rgb("#d9a05a"), rgb("#dd9f50"), rgb("#c98740"))[layer], light)
        far = mix(
            lit((rgb("#eec588"), rgb("#f0bf78"), rgb("#eab263"))[layer], light), light.haze, (0.3, 0.08, 0.0)[layer]
        )
        _layer(picture, line, scale(near, 0.86), far, rng, 0.10)
        shade = line + height * 0.02 + height * 0.05 * np.clip(smooth_ridge(rng, width, 1.1), -0.3, 1.0)
        blend(picture, scale(near, 0.62), 0.30 * np.clip(below(line, height) - below(shade, height), 0, 1))


def _meadow(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    back = horizon - height * (0.03 + 0.025 * smooth_ridge(rng, width, 1.5))
    blend(picture, mix(lit(rgb("#4d8650"), light), light.haze, 0.35), below(back, height))
    line = horizon + height * 0.012 * smooth_ridge(rng, width, 1.0)
    _layer(picture, line, lit(rgb("#3f9a2c"), light), mix(lit(rgb("#8ccb4e"), light), light.haze, 0.1), rng, 0.55)
    petals = (rgb("#ff5f6d"), rgb("#ffe14a"), rgb("#ffffff"), rgb("#c77dff"))
    count = int(width * height / 420)
    depth = rng.random(count) ** 0.7
    ys = horizon + height * 0.05 + depth * (height * 0.96 - horizon - height * 0.05)
    xs = rng.uniform(0, width - 1, count)
    for x, y, share, pick in zip(xs, ys, depth, rng.integers(0, 4, count), strict=True):
        size = 2 + int(share * 1.6 * min(height, width) / 256)
        row, column = int(y) // CELL * CELL + 3, int(x) // CELL * CELL + 3
        spot = picture[row : row + size, column : column + size]
        spot += (np.asarray(lit(petals[pick], light, 0.25), np.float32) - spot) * np.float32(0.55 + 0.35 * share)


def _hills(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    greens = (rgb("#7fae7a"), rgb("#66a556"), rgb("#4f9440"), rgb("#3b7d31"))
    for layer in range(4):
        line = horizon + height * (
            (-0.07, 0.02, 0.13, 0.25)[layer]
            + (0.05, 0.06, 0.06, 0.05)[layer] * smooth_ridge(rng, width, 2.4 - 0.3 * layer)
        )
        far = mix(lit(scale(greens[layer], 1.15), light), light.haze, (0.42, 0.20, 0.06, 0.0)[layer])
        _layer(picture, line, lit(scale(greens[layer], 0.72), light), far, rng, 0.16)


def _forest(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for layer in range(3):
        base = horizon + height * (-0.02, 0.09, 0.24)[layer]
        tall = height * (0.11, 0.19, 0.30)[layer]
        colour = mix(
            lit((rgb("#3f6f56"), rgb("#27573c"), rgb("#123c27"))[layer], light), light.haze, (0.4, 0.18, 0.02)[layer]
        )
        ground = base + height * 0.012 * ridge(rng, width, 4, 3)
        x = -tall * rng.random() * 0.3
        while x < width + tall * 0.2:
            _pine(picture, x, base + height * 0.03, tall * rng.uniform(0.72, 1.15), colour)
            x += tall * rng.uniform(0.20, 0.38)
        _layer(picture, ground, scale(colour, 0.72), colour, rng, 0.35)


def _pine(picture: Picture, x: float, base: float, tall: float, colour: Rgb) -> None:
    """One conifer as a saw-toothed triangle."""
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    tiers = 5
    for tier in range(tiers):
        share = (tier + 1) / tiers
        y = base - tall * (1 - share)
        reach = tall * 0.20 * share
        left += [(x - reach, y), (x - reach * 0.55, y - tall * 0.02)]
        right += [(x + reach, y), (x + reach * 0.55, y - tall * 0.02)]
    polygon(picture, [(x, base - tall), *left, *reversed(right)], colour)


def _snow(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    back = horizon - height * (0.03 + 0.035 * ridge(rng, width, 9, 4, 0.7))
    blend(picture, mix(lit(rgb("#4a6670"), light), light.haze, 0.45), below(back, height))
    for layer in range(3):
        line = horizon + height * (
            (0.0, 0.12, 0.26)[layer] + (0.02, 0.035, 0.04)[layer] * smooth_ridge(rng, width, 1.7)
        )
        far = mix(lit(rgb("#ffffff"), light, 0.30), light.haze, (0.25, 0.08, 0.0)[layer])
        _layer(picture, line, lit(rgb("#b9cfe8"), light, 0.28), far, rng, 0.07)
