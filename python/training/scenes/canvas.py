"""Drawing primitives on float32 pictures: H x W x 3, sRGB values 0 to 1, row 0 on top.

Soft things are computed per pixel; hard edges get their antialiasing from an analytic coverage (ridges) or from
Pillow polygons drawn at four times the size (shapes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.float32]
Mask = NDArray[np.float32]
Rgb = tuple[float, float, float]

CELL: Final = 8
"""Pixels along a side of what becomes one latent pixel; tiny things are drawn on this grid."""

_SUPERSAMPLING: Final = 4


def rgb(text: str) -> Rgb:
    """Read "#rrggbb" as three floats 0 to 1."""
    return (int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Blend two colours; ``share`` 0 gives the first and 1 the second."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def scale(colour: Rgb, factor: float) -> Rgb:
    """Make a colour brighter or darker, kept within 0 to 1."""
    return (min(1.0, colour[0] * factor), min(1.0, colour[1] * factor), min(1.0, colour[2] * factor))


def smoothstep(low: float, high: float, value: Mask) -> Mask:
    """Hermite ramp: 0 below ``low``, 1 above ``high``."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (share * share * (3.0 - 2.0 * share)).astype(np.float32)


def blend(picture: Picture, colour: Rgb | Picture, mask: Mask) -> None:
    """Paint a colour (or picture) over ``picture`` in place where ``mask`` (H x W, 0 to 1) says."""
    paint = np.asarray(colour, np.float32)
    picture += (paint - picture) * mask[..., None]


def add_light(picture: Picture, colour: Rgb, mask: Mask) -> None:
    """Screen light onto ``picture`` in place, so that glows never clip hard."""
    light = np.clip(mask, 0.0, 1.0)[..., None] * np.asarray(colour, np.float32)
    picture += light * (1.0 - np.clip(picture, 0.0, 1.0))


def vertical_gradient(stops: Sequence[tuple[float, Rgb]], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (len(rows) x 3) of a gradient with ascending stops, looked up at ``rows``."""
    places = [stop[0] for stop in stops]
    return np.stack(
        [np.interp(rows, places, [stop[1][channel] for stop in stops]) for channel in range(3)], axis=1
    ).astype(np.float32)


def noise(rng: np.random.Generator, height: int, width: int, cells_y: float, cells_x: float, octaves: int) -> Mask:
    """Fractal value noise, about 0 to 1 with mean 0.5, ``cells`` lumps along each axis at the first octave."""
    total = np.zeros((height, width), np.float32)
    weight, weight_sum = 1.0, 0.0
    for octave in range(octaves):
        rows = max(2, min(height, round(cells_y * 2**octave) + 1))
        columns = max(2, min(width, round(cells_x * 2**octave) + 1))
        grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        weight_sum += weight
        weight *= 0.5
    return total / np.float32(weight_sum)


def ridge(rng: np.random.Generator, width: int, lumps: float, octaves: int, roughness: float = 0.5) -> Mask:
    """A fractal skyline: ``width`` values about -1 to 1."""
    places = np.linspace(0.0, 1.0, width, dtype=np.float32)
    total = np.zeros(width, np.float32)
    weight, weight_sum = 1.0, 0.0
    for octave in range(octaves):
        knots = max(3, round(lumps * 2**octave) + 2)
        jitter = rng.uniform(-1.0, 1.0, knots)
        total += np.float32(weight) * np.interp(places, np.linspace(0, 1, knots), jitter).astype(np.float32)
        weight_sum += weight
        weight *= roughness
    return total / np.float32(weight_sum)


def smooth_ridge(rng: np.random.Generator, width: int, lumps: float) -> Mask:
    """A rounded skyline made of a few sines: ``width`` values about -1 to 1."""
    places = np.linspace(0.0, 2 * np.pi, width, dtype=np.float32)
    total = np.zeros(width, np.float32)
    for share, frequency in ((0.6, 0.55), (0.3, 1.1), (0.1, 2.3)):
        total += share * np.sin(places * lumps * frequency * rng.uniform(0.8, 1.2) + rng.uniform(0, 2 * np.pi))
    return total


def below(line: Mask, height: int) -> Mask:
    """Antialiased mask (H x W) of everything below ``line`` (a row for every column)."""
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    return np.clip(rows - line[None, :] + 0.5, 0.0, 1.0)


def scattered_cells(rng: np.random.Generator, rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """Random cells (row, column) of a grid of which no two touch, not even at a corner: ``count``, or all that fit.

    For stars and flakes. A latent pixel says how much light its cell has and not where, so the decoder can draw a spot
    again only where a spot is always in the middle of its cell and the cells around it are empty.
    """
    is_taken = np.zeros((rows + 2, columns + 2), bool)
    cells: list[tuple[int, int]] = []
    for place in rng.permutation(rows * columns):
        row, column = divmod(int(place), columns)
        if len(cells) < count and not is_taken[row + 1, column + 1]:
            is_taken[row : row + 3, column : column + 3] = True
            cells.append((row, column))
    return cells


def shape_mask(
    height: int, width: int, box: tuple[float, float, float, float], paint: Callable[[ImageDraw.ImageDraw, float], None]
) -> tuple[slice, slice, Mask] | None:
    """Draw a shape in a small supersampled window.

    Args:
        height, width: the picture's size in pixels.
        box: left, top, right, bottom of the window in pixels; it may reach over the edges.
        paint: draws with fill 255 in window coordinates multiplied by the factor it is given.

    Returns:
        Rows, columns and coverage of the window's part inside the picture; None when nothing is inside.
    """
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
    if right <= left or bottom <= top:
        return None
    image = Image.new("L", ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING))
    paint(ImageDraw.Draw(image), _SUPERSAMPLING)
    mask = np.asarray(image.reduce(_SUPERSAMPLING), np.float32) / np.float32(255)
    inside_x, inside_y = slice(max(left, 0), min(right, width)), slice(max(top, 0), min(bottom, height))
    if inside_x.start >= inside_x.stop or inside_y.start >= inside_y.stop:
        return None
    return (
        inside_y,
        inside_x,
        mask[inside_y.start - top : inside_y.stop - top, inside_x.start - left : inside_x.stop - left],
    )


def polygon(picture: Picture, points: Sequence[tuple[float, float]], colour: Rgb, opacity: float = 1.0) -> None:
    """Fill an antialiased polygon (x, y in pixels) in place."""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    left, top = np.floor(min(xs)), np.floor(min(ys))

    def paint(draw: ImageDraw.ImageDraw, factor: float) -> None:
        draw.polygon([((x - left) * factor, (y - top) * factor) for x, y in points], fill=255)

    _apply(picture, shape_mask(*picture.shape[:2], (left, top, max(xs) + 1, max(ys) + 1), paint), colour, opacity)


def ellipse(
    picture: Picture, center: tuple[float, float], radius: tuple[float, float], colour: Rgb, opacity: float = 1.0
) -> None:
    """Fill an antialiased ellipse (center and radii x, y in pixels) in place."""
    (x, y), (rx, ry) = center, radius
    left, top = np.floor(x - rx), np.floor(y - ry)

    def paint(draw: ImageDraw.ImageDraw, factor: float) -> None:
        draw.ellipse(
            ((x - rx - left) * factor, (y - ry - top) * factor, (x + rx - left) * factor, (y + ry - top) * factor),
            fill=255,
        )

    _apply(picture, shape_mask(*picture.shape[:2], (left, top, x + rx + 1, y + ry + 1), paint), colour, opacity)


def _apply(picture: Picture, window: tuple[slice, slice, Mask] | None, colour: Rgb, opacity: float) -> None:
    if window is not None:
        rows, columns, mask = window
        blend(picture[rows, columns], colour, mask * np.float32(opacity))
