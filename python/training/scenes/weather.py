"""What lies between the eye and the scene: fog, rain, snow, lightning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from .canvas import CELL, Mask, Picture, add_light, blend, mix, noise, polygon, rgb, scale, scattered_cells
from .sky import Light
from .spec import SceneSpec


def paint_lightning(picture: Picture, horizon: float, rng: np.random.Generator) -> None:
    """Strike one forked bolt from the clouds to the horizon."""
    height, width = picture.shape[:2]
    unit = min(height, width) / 256
    x, y = width * rng.uniform(0.2, 0.8), horizon * rng.uniform(0.12, 0.2)
    rows, columns = np.ogrid[:height, :width]
    distance = np.sqrt((columns - x) ** 2 + ((rows - horizon * 0.4) * 0.6) ** 2).astype(np.float32)
    add_light(picture, rgb("#a9b8ff"), 0.42 * np.exp(-distance / np.float32(52 * unit)))
    points = [(x, y)]
    while y < horizon:
        x, y = x + rng.uniform(-15, 15) * unit, y + rng.uniform(9, 20) * unit
        points.append((x, y))
    wide = 1.5 * unit
    for (x1, y1), (x2, y2) in pairwise(points):
        polygon(picture, [(x1 - wide, y1), (x1 + wide, y1), (x2 + wide, y2), (x2 - wide, y2)], rgb("#f4f2ff"))


def paint_weather(picture: Picture, spec: SceneSpec, horizon: float, light: Light, rng: np.random.Generator) -> None:
    """Paint the veil of the scene's weather over the finished picture."""
    match spec.weather:
        case "fog":
            _fog(picture, horizon, light, rng)
        case "rain":
            blend(picture, light.haze, np.full(picture.shape[:2], 0.14, np.float32))
            veil = _streaks(picture.shape[0], picture.shape[1], 0.0050, 15, rng)
            blend(picture, mix(light.haze, rgb("#ffffff"), 0.45), veil * np.float32(0.62))
        case "storm":
            veil = _streaks(picture.shape[0], picture.shape[1], 0.0030, 17, rng)
            blend(picture, scale(rgb("#c3ccd8"), 0.85), veil * np.float32(0.30))
        case "snowfall":
            _flakes(picture, light, rng)
        case _:
            return


def _fog(picture: Picture, horizon: float, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None] / height
    banks = noise(rng, height, width, 6, 2.2 * width / 256, 4)
    level = np.float32(horizon / height)
    thick = 0.58 * np.exp(-(((rows - level) / 0.20) ** 2)) + 0.30
    veil = np.clip(thick * (0.62 + 0.76 * banks), 0, 0.93)
    blend(picture, mix(light.haze, scale(rgb("#dfe4e8"), max(0.3, light.daylight)), 0.6), veil.astype(np.float32))


def _streaks(height: int, width: int, density: float, length: float, rng: np.random.Generator) -> Mask:
    """Slanted rain streaks, antialiased, as a mask."""
    factor = 2
    unit = min(height, width) / 256
    image = Image.new("L", (width * factor, height * factor))
    draw = ImageDraw.Draw(image)
    count = int(width * height * density / max(unit, 0.5))
    xs = rng.integers(0, width // CELL + 2, count) * CELL + CELL - 2
    ys = rng.integers(-1, height // CELL, count) * CELL
    reach, alpha = rng.choice((0.8, 1.2), count) * length * unit, rng.integers(90, 256, count)
    for x, y, far, shade in zip(xs, ys, reach, alpha, strict=True):
        end = ((x - 0.28 * far) * factor, (y + far) * factor)
        draw.line(((x * factor, y * factor), end), fill=int(shade), width=factor)
    return np.asarray(image.reduce(factor), np.float32) / np.float32(255)


def _flakes(picture: Picture, light: Light, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    blend(picture, light.haze, np.full((height, width), 0.16, np.float32))
    factor = 2
    image = Image.new("L", (width * factor, height * factor))
    draw = ImageDraw.Draw(image)
    # Few and large: many faint ones would be noise to a model of latents.
    rows, columns = height // CELL, width // CELL
    for row, column in scattered_cells(rng, rows, columns, int(0.10 * rows * columns)):
        x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
        size = float(rng.choice((2.6, 3.0, 3.4)))
        box = ((x - size) * factor, (y - size) * factor, (x + size) * factor, (y + size) * factor)
        draw.ellipse(box, fill=255)
    mask = np.asarray(image.reduce(factor), np.float32) / np.float32(255)
    blend(picture, scale(rgb("#ffffff"), 0.55 + 0.45 * light.daylight), mask * np.float32(0.9))
