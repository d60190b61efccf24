"""The city: two rows of towers, with lit windows when it is dark."""

from __future__ import annotations

from typing import Final

import numpy as np

from .canvas import CELL, Picture, Rgb, add_light, below, blend, mix, rgb, scale
from .sky import Light
from .spec import SceneSpec

_PITCH: Final = 2 * CELL
"""From window to window, in pixels."""


def paint_city(picture: Picture, spec: SceneSpec, horizon: float, light: Light, rng: np.random.Generator) -> None:
    """Paint a skyline standing on row ``horizon`` and a street-level base below it."""
    height, width = picture.shape[:2]
    is_dark = spec.time in ("dusk", "night") or spec.weather == "storm"
    if is_dark:
        rows = np.abs(np.arange(height, dtype=np.float32)[:, None] - np.float32(horizon)) / np.float32(height * 0.16)
        add_light(picture, rgb("#e08a3c"), np.broadcast_to(0.30 * np.exp(-rows), (height, width)))
    blend(
        picture, scale(rgb("#4a5058"), 0.15 + 0.6 * light.daylight), below(np.full(width, horizon, np.float32), height)
    )
    for layer in range(2):
        x = -width * 0.04 * rng.random()
        is_bright = bool(rng.random() < 0.5)
        while x < width:
            # Wide towers: what a small model of latents learns first is large and plain.
            wide = width * rng.uniform(0.12, 0.18)
            tall = height * (rng.uniform(0.32, 0.50), rng.uniform(0.20, 0.34))[layer]
            base = height if layer else horizon + height * 0.06
            _tower(picture, (x, horizon - tall, x + wide, base), spec, light, rng, layer, is_bright, is_dark)
            is_bright = not is_bright
            x += wide * rng.uniform(0.98, 1.12)


def _tower(
    picture: Picture,
    box: tuple[float, float, float, float],
    spec: SceneSpec,
    light: Light,
    rng: np.random.Generator,
    layer: int,
    is_bright: bool,
    is_dark: bool,
) -> None:
    height, width = picture.shape[:2]
    left, top, right, bottom = (round(value) for value in box)
    # Walls on the grid of cells leave room for whole windows.
    left, right = round(left / CELL) * CELL, round(right / CELL) * CELL
    left, right, top, bottom = max(left, 0), min(right, width), max(top, 0), min(bottom, height)
    if right - left < CELL:
        return
    walls = (rgb("#7c8796"), rgb("#8d8078"), rgb("#66788c"), rgb("#9a8f86"))
    factor = 0.10 + 0.80 * light.daylight
    # Bright and dark towers in turn: a wall between two that are alike is too faint to be drawn straight.
    shade = rng.uniform(1.0, 1.15) if is_bright else rng.uniform(0.66, 0.78)
    wall = scale(walls[int(rng.integers(4))], factor * shade)
    wall = tuple(channel * tint for channel, tint in zip(wall, light.tint, strict=True))
    colour: Rgb = mix((wall[0], wall[1], wall[2]), light.haze, (0.34, 0.04)[layer])
    sides = np.linspace(1.04, 0.92, right - left, dtype=np.float32)[None, :, None]
    picture[top:bottom, left:right] = np.clip(np.asarray(colour, np.float32) * sides, 0, 1)
    if rng.random() < 0.3:
        mast = (left + right) // 2
        picture[max(0, top - height // 22) : top, mast : mast + 1] = colour
    _windows(picture, (left, top, right, bottom), colour, spec, rng, layer, is_dark)


def _windows(
    picture: Picture,
    box: tuple[int, int, int, int],
    wall: Rgb,
    spec: SceneSpec,
    rng: np.random.Generator,
    layer: int,
    is_dark: bool,
) -> None:
    left, top, right, bottom = box
    lamps = (rgb("#ffd87a"), rgb("#ffc24d"), rgb("#ffe9b0"))
    lamp = lamps[int(rng.integers(3))]
    # Lights go out tower by tower: windows that do so one by one are noise to a model of latents.
    is_lit = rng.random() < (0.8 if spec.time == "night" else 0.7)
    # A window in every second cell: a decoder that enlarges and convolves can draw nothing but an even wall where all
    # cells are alike. On even cells everywhere, because a UNet that halves its pictures knows odd from even.
    for row in range(-(-top // _PITCH) * _PITCH, bottom - CELL + 1, _PITCH):
        for column in range(-(-left // _PITCH) * _PITCH, right - CELL + 1, _PITCH):
            pane = picture[row + 1 : row + 7, column + 1 : column + 7]
            if not is_dark:
                # Fainter than walls: by day the error of a wall must weigh more than that of its windows.
                pane[:] = mix(wall, rgb("#20344a"), 0.3)
            elif is_lit:
                pane[:] = mix(wall, lamp, (0.75, 0.95)[layer])
