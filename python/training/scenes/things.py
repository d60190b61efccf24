"""Foreground things: boat, tree, house, birds, cactus, lighthouse, balloon."""

from __future__ import annotations

from typing import Final

import numpy as np

from .canvas import Picture, Rgb, add_light, ellipse, mix, polygon, rgb, scale
from .sky import Light
from .spec import Colour, SceneSpec

_SIZE: Final = 1.3
"""Things are drawn this much larger than their outlines say: a boat is eleven latent pixels tall, not nine."""

PAINT: Final[dict[Colour, Rgb]] = {
    "none": rgb("#888888"),
    "red": rgb("#e0261c"),
    "orange": rgb("#ff8410"),
    "yellow": rgb("#ffd21c"),
    "green": rgb("#2fa83a"),
    "blue": rgb("#1f5fe0"),
    "purple": rgb("#8a35cc"),
    "pink": rgb("#ff86b8"),
    "white": rgb("#f8f8f4"),
}
"""The paint behind each colour word."""


def paint_thing(picture: Picture, spec: SceneSpec, horizon: float, light: Light, rng: np.random.Generator) -> None:
    """Paint the scene's foreground thing, if it has one."""
    height, width = picture.shape[:2]
    unit = _SIZE * min(height, width) / 256
    # Opposite the sun or moon, so that neither hides the other.
    is_right = spec.side == "left" if spec.body != "none" and spec.side != "center" else rng.random() < 0.5
    x = width * (rng.uniform(0.64, 0.8) if is_right else rng.uniform(0.2, 0.36))
    # Things keep more of their own colour than the land does: a colour asked for should be seen at night too.
    glow = 0.45 + 0.55 * light.daylight
    colour = scale(mix(PAINT[spec.colour], _tinted(PAINT[spec.colour], light), 0.5), glow)
    match spec.thing:
        case "none":
            return
        case "boat":
            y = horizon + (height - horizon) * (
                rng.uniform(0.24, 0.36) if spec.ground == "beach" else rng.uniform(0.3, 0.52)
            )
            _boat(picture, x, y, unit * rng.uniform(0.9, 1.15), colour, glow)
        case "tree":
            _tree(picture, x, height * rng.uniform(0.84, 0.90), unit * rng.uniform(0.9, 1.15), colour, glow, rng)
        case "house":
            y = height * rng.uniform(0.86, 0.92)
            _house(picture, x, y, unit * rng.uniform(0.95, 1.2), colour, glow, spec.time in ("dusk", "night"))
        case "birds":
            _birds(picture, horizon, unit, light, rng)
        case "cactus":
            _cactus(picture, x, height * rng.uniform(0.84, 0.92), unit * rng.uniform(0.9, 1.2), glow)
        case "lighthouse":
            y = horizon + height * 0.05 if spec.ground == "sea" else height * 0.80
            _lighthouse(picture, x, y, unit, colour, glow, spec.time in ("dusk", "night"))
        case "balloon":
            _balloon(picture, x, horizon * rng.uniform(0.38, 0.55), unit * rng.uniform(0.9, 1.15), colour, glow)


def _tinted(colour: Rgb, light: Light) -> Rgb:
    return tuple(channel * tint for channel, tint in zip(colour, light.tint, strict=True))  # type: ignore[return-value]


def _boat(picture: Picture, x: float, y: float, s: float, colour: Rgb, glow: float) -> None:
    for row, share in ((6, 0.40), (12, 0.28), (19, 0.16)):
        ellipse(picture, (x, y + (row + 3) * s), ((28 - row * 0.6) * s, 2.6 * s), scale(colour, 0.65), share)
    polygon(picture, [(x - 2 * s, y - 4 * s), (x - 2 * s, y - 60 * s), (x + 30 * s, y - 8 * s)], colour)
    polygon(picture, [(x - 5 * s, y - 6 * s), (x - 5 * s, y - 50 * s), (x - 25 * s, y - 8 * s)], scale(colour, 0.86))
    polygon(
        picture,
        [(x - 4.6 * s, y), (x - 4.6 * s, y - 62 * s), (x - 2.6 * s, y - 62 * s), (x - 2.6 * s, y)],
        scale(rgb("#6b4a2c"), glow),
    )
    hull = mix(scale(colour, 0.55), scale(rgb("#5a3a20"), glow), 0.35)
    polygon(
        picture,
        [(x - 32 * s, y - 4 * s), (x + 34 * s, y - 4 * s), (x + 24 * s, y + 8 * s), (x - 24 * s, y + 8 * s)],
        hull,
    )


def _tree(picture: Picture, x: float, y: float, s: float, colour: Rgb, glow: float, rng: np.random.Generator) -> None:
    trunk = scale(rgb("#5b3d26"), glow)
    ellipse(picture, (x, y), (32 * s, 4 * s), scale(trunk, 0.35), 0.35)
    polygon(picture, [(x - 6 * s, y), (x - 3 * s, y - 42 * s), (x + 3 * s, y - 42 * s), (x + 6 * s, y)], trunk)
    for reach, shade in ((1.0, 0.62), (0.86, 0.86), (0.6, 1.12)):
        tone = scale(colour, shade)
        for _ in range(9):
            angle, far = rng.uniform(0, 6.28), rng.uniform(0.2, 1.0)
            cx = x + np.cos(angle) * 24 * s * far * reach - (1 - reach) * 10 * s
            cy = y - 66 * s + np.sin(angle) * 20 * s * far * reach - (1 - reach) * 14 * s
            ellipse(picture, (float(cx), float(cy)), (15 * s * reach, 13 * s * reach), tone)


def _house(picture: Picture, x: float, y: float, s: float, colour: Rgb, glow: float, is_dark: bool) -> None:
    roof = scale(rgb("#5d3a33"), glow)
    window = rgb("#ffd97a") if is_dark else scale(rgb("#bfe0f5"), glow)
    polygon(
        picture,
        [(x + 14 * s, y - 52 * s), (x + 14 * s, y - 70 * s), (x + 22 * s, y - 70 * s), (x + 22 * s, y - 44 * s)],
        scale(roof, 0.8),
    )
    polygon(picture, [(x - 32 * s, y), (x - 32 * s, y - 36 * s), (x + 32 * s, y - 36 * s), (x + 32 * s, y)], colour)
    polygon(
        picture,
        [(x + 12 * s, y), (x + 12 * s, y - 36 * s), (x + 32 * s, y - 36 * s), (x + 32 * s, y)],
        scale(colour, 0.8),
    )
    polygon(picture, [(x - 39 * s, y - 34 * s), (x - 2 * s, y - 64 * s), (x + 39 * s, y - 34 * s)], roof)
    polygon(
        picture,
        [(x - 6 * s, y), (x - 6 * s, y - 21 * s), (x + 5 * s, y - 21 * s), (x + 5 * s, y)],
        scale(rgb("#4a2d1c"), glow),
    )
    for left in (-25, 14):
        right, top, bottom = left + 11, y - 26 * s, y - 14 * s
        polygon(
            picture,
            [(x + left * s, top), (x + right * s, top), (x + right * s, bottom), (x + left * s, bottom)],
            window,
        )


def _birds(picture: Picture, horizon: float, unit: float, light: Light, rng: np.random.Generator) -> None:
    width = picture.shape[1]
    dark = scale(light.top, 0.25) if light.daylight > 0.4 else rgb("#000000")
    x, y = width * rng.uniform(0.25, 0.6), horizon * rng.uniform(0.25, 0.5)
    for _ in range(int(rng.integers(5, 9))):
        bx, by = x + rng.normal(0, 42) * unit, y + rng.normal(0, 20) * unit
        s = unit * rng.uniform(0.8, 1.3)
        for side in (-1, 1):
            wing = [(bx, by + 1.8 * s), (bx + side * 6 * s, by - 4 * s), (bx + side * 12 * s, by - 1.5 * s)]
            back = [(bx + side * 6 * s, by - 1.6 * s), (bx, by + 4 * s)]
            polygon(picture, [*wing, *back], dark, 0.95)


def _cactus(picture: Picture, x: float, y: float, s: float, glow: float) -> None:
    green, shade = scale(rgb("#2f7d3a"), glow), scale(rgb("#1c5428"), glow)
    ellipse(picture, (x + 4 * s, y), (22 * s, 3.4 * s), scale(rgb("#5a3a18"), glow), 0.45)
    for left, top, right, bottom in ((-8, -78, 8, 0), (-29, -56, -19, -26), (19, -64, 29, -32)):
        _rounded(picture, (x + left * s, y + top * s, x + right * s, y + bottom * s), green)
        _rounded(picture, (x + (left + right) / 2 * s + 1, y + (top + 4) * s, x + right * s, y + bottom * s), shade)
    _rounded(picture, (x - 29 * s, y - 34 * s, x - 4 * s, y - 25 * s), green)
    _rounded(picture, (x + 4 * s, y - 40 * s, x + 29 * s, y - 31 * s), green)


def _rounded(picture: Picture, box: tuple[float, float, float, float], colour: Rgb) -> None:
    left, top, right, bottom = box
    radius = min(right - left, bottom - top) / 2
    is_tall = bottom - top > right - left
    if is_tall:
        polygon(
            picture,
            [(left, top + radius), (right, top + radius), (right, bottom - radius), (left, bottom - radius)],
            colour,
        )
        ends = ((left + radius, top + radius), (left + radius, bottom - radius))
    else:
        polygon(
            picture,
            [(left + radius, top), (right - radius, top), (right - radius, bottom), (left + radius, bottom)],
            colour,
        )
        ends = ((left + radius, top + radius), (right - radius, top + radius))
    for end in ends:
        ellipse(picture, end, (radius, radius), colour)


def _lighthouse(picture: Picture, x: float, y: float, s: float, colour: Rgb, glow: float, is_dark: bool) -> None:
    white = scale(rgb("#f6f4ec"), glow)
    rock = scale(rgb("#4d4a48"), glow)
    polygon(
        picture,
        [(x - 36 * s, y + 12 * s), (x - 22 * s, y - 6 * s), (x + 18 * s, y - 8 * s), (x + 38 * s, y + 12 * s)],
        rock,
    )
    for index in range(5):
        low, high = index / 5, (index + 1) / 5
        wide_low, wide_high = (12 - 5 * low) * s, (12 - 5 * high) * s
        bottom, top = y - 6 * s - 72 * s * low, y - 6 * s - 72 * s * high
        tone = colour if index % 2 == 0 else white
        polygon(
            picture, [(x - wide_low, bottom), (x - wide_high, top), (x + wide_high, top), (x + wide_low, bottom)], tone
        )
    lamp = y - 84 * s
    polygon(
        picture,
        [(x - 5 * s, lamp + 7 * s), (x - 5 * s, lamp - 4 * s), (x + 5 * s, lamp - 4 * s), (x + 5 * s, lamp + 7 * s)],
        rgb("#ffe9a0"),
    )
    polygon(picture, [(x - 7 * s, lamp - 4 * s), (x, lamp - 12 * s), (x + 7 * s, lamp - 4 * s)], scale(colour, 0.8))
    if is_dark:
        rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
        distance = np.sqrt((columns - x) ** 2 + (rows - lamp) ** 2).astype(np.float32)
        add_light(picture, rgb("#ffe6a0"), 0.8 * np.exp(-distance / np.float32(13 * s)))


def _balloon(picture: Picture, x: float, y: float, s: float, colour: Rgb, glow: float) -> None:
    for reach, shade in ((29, 0.78), (21, 0.95), (11, 1.12)):
        tone = scale(colour, shade)
        ellipse(picture, (x, y), (reach * s, 31 * s), tone)
        edge = reach * 0.86
        polygon(
            picture,
            [
                (x - edge * s, y + 15 * s),
                (x + edge * s, y + 15 * s),
                (x + 5 * s * reach / 29, y + 43 * s),
                (x - 5 * s * reach / 29, y + 43 * s),
            ],
            tone,
        )
    rope = scale(rgb("#3a2a1c"), glow)
    for side in (-4, 4):
        polygon(
            picture,
            [
                (x + side * s - 0.4, y + 43 * s),
                (x + side * s + 0.4, y + 43 * s),
                (x + side * s + 0.4, y + 50 * s),
                (x + side * s - 0.4, y + 50 * s),
            ],
            rope,
        )
    polygon(
        picture,
        [(x - 6 * s, y + 49 * s), (x + 6 * s, y + 49 * s), (x + 5 * s, y + 58 * s), (x - 5 * s, y + 58 * s)],
        scale(rgb("#7a5230"), glow),
    )
