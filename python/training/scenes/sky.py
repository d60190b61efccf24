"""The sky: gradient, sun and moon, clouds, rainbow, aurora; and the stars, which come last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .canvas import (
    CELL,
    Picture,
    Rgb,
    add_light,
    blend,
    mix,
    noise,
    rgb,
    scale,
    scattered_cells,
    smoothstep,
    vertical_gradient,
)
from .spec import SceneSpec, Time, Weather

_Stops = tuple[Rgb, Rgb, Rgb, Rgb]

_CLEAR: Final[dict[Time, tuple[_Stops, ...]]] = {
    # From the top edge down to the horizon.
    "sunrise": (
        (rgb("#6f9fdc"), rgb("#b6bfe6"), rgb("#fbc8c4"), rgb("#ffe3a8")),
        (rgb("#7f8fd6"), rgb("#d0b4e0"), rgb("#ffc0b8"), rgb("#ffdf9e")),
    ),
    "morning": (
        (rgb("#5aa6ea"), rgb("#8cc6f3"), rgb("#c2e2f6"), rgb("#fbf0d2")),
        (rgb("#68b2e8"), rgb("#9fd2f0"), rgb("#cfe9f2"), rgb("#fdf3dc")),
    ),
    "day": (
        (rgb("#1668c8"), rgb("#2f86dd"), rgb("#63aeee"), rgb("#a9d8f8")),
        (rgb("#0f5cc0"), rgb("#2a7ad8"), rgb("#55a2ea"), rgb("#9ccff5")),
    ),
    "sunset": (
        (rgb("#3d2f78"), rgb("#9c3f7e"), rgb("#f0663e"), rgb("#ffb347")),
        (rgb("#5a2a68"), rgb("#c2436a"), rgb("#f97b32"), rgb("#ffc65a")),
        (rgb("#7a3050"), rgb("#d6503f"), rgb("#ff8a2a"), rgb("#ffd268")),
    ),
    "dusk": (
        (rgb("#1a1a4f"), rgb("#3b2f7d"), rgb("#7d4a9c"), rgb("#d67fa6")),
        (rgb("#17204f"), rgb("#35397f"), rgb("#6c51a0"), rgb("#c987b4")),
    ),
    "night": (
        (rgb("#040716"), rgb("#081029"), rgb("#0f1c40"), rgb("#1c2e58")),
        (rgb("#05060f"), rgb("#0a0e22"), rgb("#141b3a"), rgb("#243055")),
    ),
}

_GREY: Final[dict[Weather, tuple[_Stops, float]]] = {
    # Stops by daylight, and how far they replace the clear sky.
    "storm": ((rgb("#262b38"), rgb("#39414f"), rgb("#525c69"), rgb("#7c8790")), 0.88),
    "rain": ((rgb("#5b6b7c"), rgb("#6d7e8e"), rgb("#8494a1"), rgb("#a2b0b8")), 0.80),
    # Dark enough for white flakes: on a brighter sky their latents hardly differ from the sky's.
    "snowfall": ((rgb("#566578"), rgb("#627184"), rgb("#728192"), rgb("#8d99a6")), 0.88),
    "fog": ((rgb("#b4bfc8"), rgb("#c2cbd2"), rgb("#d0d7db"), rgb("#dde1e2")), 0.62),
}

_DAYLIGHT: Final[dict[Time, float]] = {
    "sunrise": 0.85, "morning": 1.0, "day": 1.0, "sunset": 0.72, "dusk": 0.42, "night": 0.20,
}  # fmt: skip

_FALLOFF: Final = 0.5
"""How much darker the sky is a picture's width away from the sun or moon; what tells left from right at a glance."""

_SUN: Final[dict[Time, tuple[Rgb, Rgb]]] = {
    # Disc and glow.
    "sunrise": (rgb("#fff6d8"), rgb("#ffcf8a")),
    "morning": (rgb("#fffbe6"), rgb("#fff0b8")),
    "day": (rgb("#fffdf2"), rgb("#fff6d0")),
    "sunset": (rgb("#fff0b4"), rgb("#ff9a3c")),
    "dusk": (rgb("#ffd9a0"), rgb("#ff9a6a")),
    "night": (rgb("#ffffff"), rgb("#ffffff")),
}


_STAR: Final = np.array(
    [[0.0, 0.5, 0.5, 0.0], [0.5, 1.0, 1.0, 0.5], [0.5, 1.0, 1.0, 0.5], [0.0, 0.5, 0.5, 0.0]], np.float32
)
"""A star in the middle of its cell. All are about as bright, and none is smaller: what a latent pixel keeps of a faint
dot of five pixels is less than the noise that a diffusion model leaves."""


@dataclass(frozen=True, slots=True)
class Light:
    """What the ground needs to know about the sky above it.

    Attributes:
        daylight: brightness of sunlit things, 0 to 1.
        tint: the colour of that light.
        haze: the colour distant things fade to (the sky at the horizon).
        top: the colour at the top edge.
        body_x, body_y: center of sun or moon in pixels; None when neither is up.
        glow: the colour that sun or moon throws on water and clouds.
    """

    daylight: float
    tint: Rgb
    haze: Rgb
    top: Rgb
    body_x: float | None
    body_y: float | None
    glow: Rgb


def paint_sky(picture: Picture, spec: SceneSpec, horizon: float, rng: np.random.Generator) -> Light:
    """Paint the whole picture as sky, with the horizon at row ``horizon``, and report its light."""
    height, width = picture.shape[:2]
    stops = _stops(spec, rng)
    rows = np.arange(height, dtype=np.float32) / np.float32(max(horizon, 1.0))
    picture[:] = vertical_gradient(list(zip((0.0, 0.36, 0.72, 1.0), stops, strict=True)), rows)[:, None, :]
    light = _light(spec, stops, horizon, height, width, rng)
    if spec.weather == "aurora":
        _aurora(picture, horizon, rng)
    if spec.body == "sun":
        _sun(picture, spec, light)
    elif spec.body == "moon":
        _moon(picture, light)
    _clouds(picture, spec, light, horizon, rng)
    if light.body_x is not None:
        far = np.abs(np.arange(width, dtype=np.float32) - np.float32(light.body_x)) / width
        picture *= (1.0 - np.float32(_FALLOFF) * far)[None, :, None]
    if spec.weather == "rainbow":
        _rainbow(picture, horizon, rng)
    return light


def _stops(spec: SceneSpec, rng: np.random.Generator) -> _Stops:
    clear = _CLEAR[spec.time]
    stops = clear[int(rng.integers(len(clear)))]
    if spec.weather in _GREY:
        grey, share = _GREY[spec.weather]
        brightness = max(0.16, _DAYLIGHT[spec.time])
        return tuple(mix(colour, scale(g, brightness), share) for colour, g in zip(stops, grey, strict=True))  # type: ignore[return-value]
    return stops


def _light(spec: SceneSpec, stops: _Stops, horizon: float, height: int, width: int, rng: np.random.Generator) -> Light:
    daylight = _DAYLIGHT[spec.time] * {"storm": 0.55, "rain": 0.75, "fog": 0.9, "snowfall": 0.92}.get(spec.weather, 1.0)
    tint = mix((1.0, 1.0, 1.0), mix(stops[2], stops[3], 0.5), {"day": 0.1, "morning": 0.12}.get(spec.time, 0.45))
    x = y = None
    if spec.body != "none":
        share = {"left": 0.22, "center": 0.5, "right": 0.78}[spec.side] + rng.uniform(-0.05, 0.05)
        x, y = share * width, horizon * (1.0 - spec.height)
        if spec.height > 0.7:
            y = max(y, 0.09 * height)
    glow = rgb("#d8e4ff") if spec.body == "moon" else _SUN[spec.time][1]
    return Light(daylight, tint, stops[3], stops[0], x, y, glow)


def _distance(picture: Picture, x: float, y: float) -> np.ndarray:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    return np.sqrt((columns + 0.5 - np.float32(x)) ** 2 + (rows + 0.5 - np.float32(y)) ** 2).astype(np.float32)


def _sun(picture: Picture, spec: SceneSpec, light: Light) -> None:
    assert light.body_x is not None
    assert light.body_y is not None
    size = float(min(picture.shape[:2]))
    radius = size * {"sunset": 0.068, "sunrise": 0.058, "dusk": 0.05}.get(spec.time, 0.045)
    distance = _distance(picture, light.body_x, light.body_y)
    disc, glow = _SUN[spec.time]
    veil = 0.45 if spec.weather == "fog" else 1.0
    add_light(picture, glow, 0.75 * veil * np.exp(-distance / np.float32(radius * 1.3)))
    add_light(picture, glow, 0.42 * veil * np.exp(-distance / np.float32(radius * 4.5)))
    blend(picture, disc, veil * np.clip(radius - distance + 0.5, 0.0, 1.0))


def _moon(picture: Picture, light: Light) -> None:
    assert light.body_x is not None
    assert light.body_y is not None
    size = float(min(picture.shape[:2]))
    radius = size * 0.056
    distance = _distance(picture, light.body_x, light.body_y)
    add_light(picture, rgb("#b9cbf5"), 0.42 * np.exp(-distance / np.float32(radius * 2.2)))
    disc = np.clip(radius - distance + 0.5, 0.0, 1.0)
    blend(picture, rgb("#f4f1de"), disc)
    for x, y, r in ((-0.3, -0.2, 0.24), (0.25, 0.3, 0.2), (0.2, -0.4, 0.14)):
        spot = _distance(picture, light.body_x + x * radius, light.body_y + y * radius)
        blend(picture, rgb("#d9d6c6"), 0.7 * disc * np.clip((r * radius - spot) / 2 + 0.5, 0.0, 1.0))


def paint_stars(picture: Picture, sky: Picture, spec: SceneSpec, horizon: float, rng: np.random.Generator) -> None:
    """Add the stars of a dark open sky, where the ground left the sky as it was.

    They come after the ground, so that water does not mirror them: specks in the waves are noise to a model of latents.

    Args:
        sky: the picture before the ground was painted.
    """
    if spec.time not in ("dusk", "night") or spec.weather not in ("clear", "aurora", "clouds"):
        return
    rows, columns = int(0.9 * horizon) // CELL, picture.shape[1] // CELL
    share = 0.07 if spec.time == "night" else 0.025
    for row, column in scattered_cells(rng, rows, columns, int(share * rows * columns)):
        place = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        if np.array_equal(picture[place], sky[place]):
            spot = picture[place][2:6, 2:6]
            spot += np.float32(rng.uniform(0.8, 1.0)) * _STAR[..., None] * (1.0 - spot)


def _clouds(picture: Picture, spec: SceneSpec, light: Light, horizon: float, rng: np.random.Generator) -> None:
    if spec.weather in ("fog", "aurora", "snowfall"):
        return
    width = picture.shape[1]
    depth = max(8, int(horizon))
    # By day the blue is dark, and clouds are what makes the sky bright.
    clouds = 0.68 if spec.time == "day" else 0.55
    cover = {"clear": 0.0, "rainbow": 0.32, "clouds": clouds, "rain": 0.72, "storm": 0.85}[spec.weather]
    if spec.weather == "clear":
        cover = 0.16 if spec.time in ("sunset", "sunrise", "day", "morning") and rng.random() < 0.7 else 0.0
    if cover == 0.0:
        return
    flat = spec.time in ("sunset", "sunrise", "dusk")
    aspect = width / max(depth, 1)
    field = noise(rng, depth, width, 5.0 if flat else 3.2, (2.0 if flat else 3.0) * aspect, 5)
    rows = np.linspace(0.0, 1.0, depth, dtype=np.float32)[:, None]
    threshold = 0.68 - 0.32 * cover
    mask = smoothstep(threshold, threshold + 0.16, field)
    if spec.weather not in ("storm", "rain"):
        mask *= smoothstep(1.02, 0.75, rows) * (0.35 + 0.65 * smoothstep(0.0, 0.25, rows))
    bright, dark = _cloud_colours(spec, light)
    lit = np.clip((field - np.roll(field, -max(2, depth // 26), axis=0)) * 3.5 + 0.5, 0.0, 1.0)
    paint = (
        np.asarray(dark, np.float32) + (np.asarray(bright, np.float32) - np.asarray(dark, np.float32)) * lit[..., None]
    )
    sky = picture[:depth]
    if light.body_x is not None and light.body_y is not None:
        near = np.exp(-_distance(sky, light.body_x, light.body_y) / np.float32(0.22 * width))
        paint = paint + near[..., None] * 0.45 * np.asarray(light.glow, np.float32) * (1 - paint)
    blend(sky, paint, mask * np.float32(0.92 if cover > 0.5 else 0.8))


def _cloud_colours(spec: SceneSpec, light: Light) -> tuple[Rgb, Rgb]:
    """Sunlit and shaded colour of the clouds."""
    if spec.weather == "storm":
        return scale(rgb("#77808c"), max(0.3, light.daylight * 1.6)), scale(
            rgb("#1d222d"), max(0.35, light.daylight * 1.6)
        )
    if spec.weather == "rain":
        return scale(rgb("#9aa8b4"), max(0.3, light.daylight * 1.3)), scale(
            rgb("#5a6875"), max(0.3, light.daylight * 1.3)
        )
    return {
        "sunrise": (rgb("#fff0dc"), rgb("#e3a3b4")),
        "morning": (rgb("#ffffff"), rgb("#d5e0ea")),
        "day": (rgb("#ffffff"), rgb("#ccdcec")),
        "sunset": (rgb("#ffc06a"), rgb("#8a3560")),
        "dusk": (rgb("#b06aa6"), rgb("#2f2a62")),
        "night": (rgb("#2c3a60"), rgb("#0b1126")),
    }[spec.time]


def _rainbow(picture: Picture, horizon: float, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x = width * rng.uniform(0.35, 0.65)
    radius = min(horizon * 0.82, width * 0.62)
    distance = _distance(picture, x, horizon + 0.02 * height)
    band = 0.15 * radius
    share = (radius - distance) / np.float32(band)
    colours = ("#ff3b30", "#ff9500", "#ffe135", "#3ddc5b", "#2f9bff", "#8a4dff")
    stops = [(index / (len(colours) - 1), rgb(colour)) for index, colour in enumerate(colours)]
    paint = vertical_gradient(stops, share.ravel()).reshape(*share.shape, 3)
    blend(picture, paint, 0.72 * smoothstep(-0.12, 0.1, share) * smoothstep(1.12, 0.9, share))


def _aurora(picture: Picture, horizon: float, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None] / np.float32(max(horizon, 1.0))
    columns = np.linspace(0.0, 1.0, width, dtype=np.float32)
    for _ in range(2 + int(rng.random() < 0.5)):
        base = rng.uniform(0.45, 0.78) + 0.12 * np.sin(columns * rng.uniform(4, 9) + rng.uniform(0, 6.28))
        reach = rng.uniform(0.32, 0.55)
        rays = 0.45 + 0.55 * noise(rng, 2, width, 1, 26, 3)[0]
        above = (base[None, :] - rows) / np.float32(reach)
        curtain = smoothstep(-0.08, 0.06, above) * np.exp(-np.clip(above, 0, None) * 2.1) * rays[None, :]
        share = np.clip(above, 0.0, 1.0)[..., None]
        paint = np.asarray(rgb("#3cf59a"), np.float32) * (1 - share) + np.asarray(rgb("#8f4fe8"), np.float32) * share
        picture += np.clip(curtain, 0, 1)[..., None] * paint * (1.0 - np.clip(picture, 0, 1)) * np.float32(0.85)
