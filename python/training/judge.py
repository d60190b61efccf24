"""Forty prompts and what a right answer looks like in plain image statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .pixels import (
    Floats,
    band,
    box_blur,
    brightest_x,
    horizon,
    is_coloured,
    luma,
    mean_colour,
    saturation,
    share,
    spots,
    walls,
)
from .scenes.spec import SceneSpec

Check = Callable[[Floats], bool]


def _sunset(picture: Floats) -> bool:
    sky = band(picture, 0.25, 0.48)
    red, _, blue = mean_colour(sky)
    # Warm is not enough: a sunset in the fog is, and so were the grey images of "a beautiful sunset".
    return red > blue + 0.12 and red > 0.45 and saturation(sky) > 0.21


def _sunrise(picture: Floats) -> bool:
    red, _, blue = mean_colour(band(picture, 0.32, 0.50))
    return red > 0.68 and red > blue - 0.03 and float(luma(band(picture, 0.0, 0.3)).mean()) > 0.5


def _morning(picture: Floats) -> bool:
    red, _, blue = mean_colour(band(picture, 0.0, 0.25))
    return blue > red + 0.08 and float(luma(band(picture, 0.0, 0.4)).mean()) > 0.5


def _day(picture: Floats) -> bool:
    red, _, blue = mean_colour(band(picture, 0.0, 0.25))
    return blue > red + 0.15 and float(luma(band(picture, 0.0, 0.3)).mean()) > 0.3


def _dusk(picture: Floats) -> bool:
    red, green, blue = mean_colour(band(picture, 0.0, 0.5))
    return blue > green + 0.05 and blue > red and 0.10 < float(luma(band(picture, 0.0, 0.4)).mean()) < 0.48


def _night(picture: Floats) -> bool:
    return float(luma(band(picture, 0.0, 0.35)).mean()) < 0.22


def _storm(picture: Floats) -> bool:
    sky = band(picture, 0.0, 0.4)
    return float(luma(sky).mean()) < 0.42 and saturation(sky) < 0.22


def _fog(picture: Floats) -> bool:
    return float(luma(picture).std()) < 0.17 and saturation(picture) < 0.20


def _rain(picture: Floats) -> bool:
    sky = band(picture, 0.0, 0.4)
    return 0.2 < float(luma(sky).mean()) < 0.72 and saturation(sky) < 0.24


def _snowfall(picture: Floats) -> bool:
    # Counted, not measured: the white of a few clouds is as much as that of fifty flakes.
    return spots(band(picture, 0.0, 0.5), 0.10, least=4, most=12) >= 32


def _rainbow(picture: Floats) -> bool:
    sky = band(picture, 0.08, 0.62)
    warm = (sky[..., 0] > sky[..., 2] + 0.10) & (sky[..., 0] > 0.5)
    return share(warm) > 0.008 and share(is_coloured(sky, "green")) > 0.004


def _aurora(picture: Floats) -> bool:
    sky = band(picture, 0.0, 0.6)
    # Green turns to violet on the way up; where it is faint it is as blue as it is green.
    glow = (sky[..., 1] > sky[..., 0] + 0.10) & (sky[..., 1] > sky[..., 2] - 0.03)
    return share(glow) > 0.04 and float(luma(sky).mean()) < 0.40


def _stars(picture: Floats) -> bool:
    # Counted, not measured: the moon alone is as bright as all stars.
    return spots(band(picture, 0.0, 0.45), 0.12, least=1, most=6) >= 10


def _water_by_day(picture: Floats) -> bool:
    red, green, blue = mean_colour(band(picture, 0.68, 0.90))
    return blue > red + 0.05 and blue > green - 0.06


def _sea_horizon(picture: Floats) -> bool:
    return 0.50 < horizon(picture) < 0.68


def _sand(picture: Floats) -> bool:
    red, green, blue = mean_colour(band(picture, 0.82, 1.0))
    return red > green > blue and red > blue + 0.15


def _green_ground(picture: Floats) -> bool:
    red, green, blue = mean_colour(band(picture, 0.85, 1.0))
    return green > red + 0.02 and green > blue + 0.02


def _white_ground(picture: Floats) -> bool:
    # The median, not the mean: a red house must not count against the snow it stands in.
    dominant = np.median(band(picture, 0.75, 1.0), axis=(0, 1))
    return float(luma(dominant)) > 0.66 and float(np.ptp(dominant)) < 0.2


def _towers(picture: Floats) -> bool:
    red, green, blue = mean_colour(band(picture, 0.6, 0.95))
    return walls(band(picture, 0.55, 0.85)) > 0.095 and green < max(red, blue)


def _windows(picture: Floats) -> bool:
    city = band(picture, 0.45, 1.0)
    brightness = luma(city)
    is_lit = (brightness - box_blur(brightness, 15) > 0.16) & (city[..., 0] > city[..., 2] + 0.15)
    return share(is_lit) > 0.03


def _body_at(low: float, high: float) -> Check:
    return lambda picture: low < brightest_x(band(picture, 0.0, 0.55)) < high


def _colour(name: str, top: float, bottom: float, least: float) -> Check:
    return lambda picture: share(is_coloured(band(picture, top, bottom), name)) > least


def _birds(picture: Floats) -> bool:
    brightness = luma(band(picture, 0.04, 0.45))
    return share(box_blur(brightness, 15) - brightness > 0.15) > 0.0015


CHECKS: Final[dict[str, Check]] = {
    "sunset": _sunset,
    "sunrise": _sunrise,
    "morning": _morning,
    "day": _day,
    "dusk": _dusk,
    "night": _night,
    "storm": _storm,
    "fog": _fog,
    "rain": _rain,
    "snowfall": _snowfall,
    "rainbow": _rainbow,
    "aurora": _aurora,
    "stars": _stars,
    "water": _water_by_day,
    "horizon": _sea_horizon,
    "sand": _sand,
    "grass": _green_ground,
    "snow": _white_ground,
    "towers": _towers,
    "windows": _windows,
    "birds": _birds,
    "left": _body_at(0.08, 0.40),
    "center": _body_at(0.36, 0.64),
    "right": _body_at(0.60, 0.92),
    "cactus": _colour("green", 0.45, 0.95, 0.008),
    "red_boat": _colour("red", 0.4, 0.9, 0.006),
    "yellow_boat": _colour("yellow", 0.4, 0.9, 0.006),
    "red_house": _colour("red", 0.6, 1.0, 0.008),
    "blue_balloon": _colour("blue", 0.0, 0.55, 0.012),
}
"""What can be asked of a picture."""


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, the scene it describes, and the names of the checks a right picture passes (all of them)."""

    prompt: str
    spec: SceneSpec
    checks: tuple[str, ...]

    def failures(self, picture: NDArray[np.uint8]) -> list[str]:
        """Names of the checks a picture (H x W x 3 bytes) does not pass; empty when it is right."""
        values = picture.astype(np.float64) / 255.0
        return [name for name in self.checks if not CHECKS[name](values)]


def _case(prompt: str, scene: str, checks: str) -> Case:
    """A case from short words: ``scene`` is "time weather ground; body side height; colour thing", the last two
    optional."""
    (time, weather, ground), *rest = (part.split() for part in scene.split(";"))
    body, side, height, thing, colour = "none", "center", 0.0, "none", "none"
    for part in rest:
        if len(part) == 3:
            body, side, height = part[0], part[1], float(part[2])
        else:
            colour, thing = part
    spec = SceneSpec(time, weather, ground, body, side, height, thing, colour, 0)  # type: ignore[arg-type]
    return Case(prompt, spec, tuple(checks.split()))


CASES: Final[tuple[Case, ...]] = (
    _case("a beautiful sunset", "sunset clear sea; sun center 0.2", "sunset"),
    _case("sunset over the sea, sun on the left", "sunset clear sea; sun left 0.2", "sunset left"),
    _case("sunset over the ocean, sun on the right", "sunset clear sea; sun right 0.2", "sunset right"),
    _case("a sunset over the desert, sun in the center", "sunset clear desert; sun center 0.2", "sunset center sand"),
    _case("sea at noon, clear sky", "day clear sea", "day water horizon"),
    _case("the open sea in the morning", "morning clear sea", "morning water"),
    _case("a starry night over the sea", "night clear sea", "night stars"),
    _case("sea at night, full moon on the left", "night clear sea; moon left 0.6", "night left"),
    _case("desert at night, the moon on the right", "night clear desert; moon right 0.6", "night right"),
    _case("city skyline at night", "night clear city", "night windows"),
    _case("skyscrapers at night with the moon on the left", "night clear city; moon left 0.8", "night windows left"),
    _case("a city at noon", "day clear city", "day towers"),
    _case("city at sunset", "sunset clear city; sun center 0.55", "sunset towers"),
    _case("sand dunes at midday, bright sun on the right", "day clear desert; sun right 0.7", "day sand right"),
    _case("a cactus in the desert, noon", "day clear desert; none cactus", "sand cactus"),
    _case("flower meadow on a sunny day", "day clear meadow; sun right 0.7", "day grass"),
    _case("green hills in the morning, sun on the left", "morning clear hills; sun left 0.45", "morning grass left"),
    _case("rolling hills under a blue sky with clouds", "day clouds hills", "morning grass"),
    _case("pine forest at noon", "day clear forest", "day grass"),
    _case("a forest in the fog", "morning fog forest", "fog"),
    _case("mountains at noon, clear sky", "day clear mountains", "day grass"),
    _case("mountain range at sunset", "sunset clear mountains; sun center 0.55", "sunset"),
    _case("northern lights over the mountains at night", "night aurora mountains", "aurora"),
    _case("aurora over a lake", "night aurora lake", "aurora"),
    _case("a calm lake at dusk", "dusk clear lake", "dusk"),
    _case("lake at midday, clear sky", "day clear lake", "day water"),
    _case("sandy beach at noon, bright sun on the left", "day clear beach; sun left 0.7", "day sand left"),
    _case("beach at twilight", "dusk clear beach", "dusk"),
    _case("snowy field at noon", "day clear snow", "day snow"),
    _case("winter landscape, falling snow, morning", "morning snowfall snow", "snowfall snow"),
    _case("a thunderstorm over the sea at night", "night storm sea", "storm"),
    _case("storm over the hills, afternoon", "day storm hills", "storm"),
    _case("meadow in the rain, afternoon", "day rain meadow", "rain grass"),
    _case("a rainbow over green hills", "day rainbow hills", "rainbow grass"),
    _case("sunrise over the sea", "sunrise clear sea; sun center 0.2", "sunrise"),
    _case("a red boat on the sea at noon", "day clear sea; red boat", "red_boat water"),
    _case("a yellow boat on a lake at midday", "day clear lake; yellow boat", "yellow_boat"),
    _case("a red house in the snow, noon", "day clear snow; red house", "red_house snow"),
    _case("blue hot air balloon over the desert at sunset", "sunset clear desert; blue balloon", "blue_balloon sand"),
    _case("birds over the sea in the morning", "morning clear sea; none birds", "birds morning"),
)
"""The judged prompts."""
