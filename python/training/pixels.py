"""Plain statistics of a picture, for asking whether it shows what was asked for.

Pictures are floats 0 to 1, H x W x 3. Bands are given as shares of the height, from the top.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


def band(picture: Floats, top: float, bottom: float) -> Floats:
    """The rows between two shares of the height."""
    height = picture.shape[0]
    return picture[int(top * height) : max(int(bottom * height), int(top * height) + 1)]


def mean_colour(picture: Floats) -> tuple[float, float, float]:
    """Mean red, green and blue."""
    red, green, blue = picture.reshape(-1, 3).mean(axis=0)
    return float(red), float(green), float(blue)


def luma(picture: Floats) -> Floats:
    """Brightness of every pixel, 0 to 1."""
    return picture @ np.array([0.299, 0.587, 0.114], picture.dtype)


def saturation(picture: Floats) -> float:
    """Mean distance between the strongest and the weakest channel, 0 (grey) to 1."""
    return float((picture.max(axis=2) - picture.min(axis=2)).mean())


def box_blur(values: Floats, size: int) -> Floats:
    """Mean over ``size`` x ``size`` windows (odd size), edges repeated."""
    reach = size // 2
    padded = np.pad(values.astype(np.float64), ((reach + 1, reach), (reach + 1, reach)), mode="edge")
    sums = padded.cumsum(axis=0).cumsum(axis=1)
    total = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return total / (size * size)


def thumbnail(picture: Floats, size: int) -> Floats:
    """Means over ``size`` x ``size`` pixels; what is left over at the edges is cut off."""
    rows, columns = picture.shape[0] // size, picture.shape[1] // size
    return picture[: rows * size, : columns * size].reshape(rows, size, columns, size, -1).mean(axis=(1, 3))


def patches(flags: Flags) -> list[NDArray[np.intp]]:
    """The connected places of true pixels (up, down, left, right), each as N x 2 rows and columns."""
    left = {(int(row), int(column)) for row, column in np.argwhere(flags)}
    found: list[NDArray[np.intp]] = []
    while left:
        reached, patch = [left.pop()], []
        while reached:
            row, column = reached.pop()
            patch.append((row, column))
            for place in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if place in left:
                    left.remove(place)
                    reached.append(place)
        found.append(np.array(patch))
    return found


def spots(picture: Floats, contrast: float, least: int, most: int) -> int:
    """How many separate places, ``least`` to ``most`` pixels wide and high, are brighter than their surroundings."""
    brightness = luma(picture)
    found = patches(brightness - box_blur(brightness, 15) > contrast)
    return sum(bool(np.all((least <= np.ptp(at, axis=0) + 1) & (np.ptp(at, axis=0) + 1 <= most))) for at in found)


def walls(picture: Floats) -> float:
    """Share of columns with a brightness step in the same place in each quarter of the height: upright walls.

    A step counts from 6 % of the mean brightness on: at sunset walls are as straight as at noon, and half as bright.
    """
    brightness = luma(picture)
    brightness = brightness / max(float(brightness.mean()), 1e-3)
    rows = len(brightness) // 4 * 4
    quarters = brightness[:rows].reshape(4, -1, brightness.shape[1]).mean(axis=1)
    reach = max(2, picture.shape[1] // 51)
    steps = np.abs(quarters[:, reach:] - quarters[:, :-reach])
    return float((steps.min(axis=0) > 0.06).mean())


def share(flags: Flags) -> float:
    """Share of true pixels."""
    return float(flags.mean())


def brightest_x(picture: Floats) -> float:
    """Where the brightest spot is, as a share of the width."""
    glow = box_blur(luma(picture), 9)
    return float(np.unravel_index(int(glow.argmax()), glow.shape)[1]) / picture.shape[1]


def horizon(picture: Floats) -> float:
    """Where the strongest horizontal edge is between 35 % and 85 % of the height, as a share of the height."""
    rows = picture.mean(axis=1)
    reach = max(2, len(rows) // 42)
    above = np.stack([rows[row - reach : row].mean(axis=0) for row in range(reach, len(rows) - reach)])
    below = np.stack([rows[row : row + reach].mean(axis=0) for row in range(reach, len(rows) - reach)])
    steps = np.abs(above - below).sum(axis=1)
    first, last = int(0.35 * len(rows)) - reach, int(0.85 * len(rows)) - reach
    return (int(steps[first:last].argmax()) + first + reach) / len(rows)


def is_coloured(picture: Floats, colour: str) -> Flags:
    """Which pixels clearly have a paint colour: red, orange, yellow, green, blue, purple, pink or white."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    match colour:
        case "red":
            return (red > green + 0.22) & (red > blue + 0.22) & (green < 0.45 * red + 0.08)
        case "orange":
            return (red > 0.4) & (red > green + 0.12) & (green > blue + 0.10)
        case "yellow":
            return (red > 0.4) & (green > 0.62 * red) & (np.minimum(red, green) > blue + 0.22)
        case "green":
            return (green > red + 0.08) & (green > blue + 0.05)
        case "blue":
            return (blue > red + 0.22) & (blue > green + 0.14)
        case "purple":
            return (blue > green + 0.15) & (red > green + 0.06)
        case "pink":
            return (red > green + 0.14) & (blue > green + 0.02) & (red > 0.45)
        case "white":
            return picture.min(axis=-1) > 0.78
        case _:
            raise ValueError(f"no such colour: {colour}")
