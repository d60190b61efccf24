"""What a scene is: one value of every attribute, before anything is drawn or said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Time = Literal["sunrise", "morning", "day", "sunset", "dusk", "night"]
Weather = Literal["clear", "clouds", "storm", "fog", "rain", "snowfall", "rainbow", "aurora"]
Ground = Literal["sea", "lake", "beach", "mountains", "desert", "meadow", "hills", "forest", "city", "snow"]
Body = Literal["none", "sun", "moon"]
Side = Literal["left", "center", "right"]
Thing = Literal["none", "boat", "tree", "house", "birds", "cactus", "lighthouse", "balloon"]
Colour = Literal["none", "red", "orange", "yellow", "green", "blue", "purple", "pink", "white"]

TIMES: Final[tuple[Time, ...]] = ("sunrise", "morning", "day", "sunset", "dusk", "night")
WEATHERS: Final[tuple[Weather, ...]] = ("clear", "clouds", "storm", "fog", "rain", "snowfall", "rainbow", "aurora")
GROUNDS: Final[tuple[Ground, ...]] = (
    "sea", "lake", "beach", "mountains", "desert", "meadow", "hills", "forest", "city", "snow",
)  # fmt: skip
SIDES: Final[tuple[Side, ...]] = ("left", "center", "right")

COLOURS_OF: Final[dict[Thing, tuple[Colour, ...]]] = {
    "none": ("none",),
    "boat": ("red", "orange", "yellow", "green", "blue", "purple", "white"),
    "tree": ("green", "red", "orange", "yellow", "pink"),
    "house": ("red", "orange", "yellow", "green", "blue", "white", "pink"),
    "birds": ("none",),
    "cactus": ("none",),
    "lighthouse": ("red", "blue"),
    "balloon": ("red", "orange", "yellow", "green", "blue", "purple", "pink"),
}
"""The colours each foreground thing may wear; a thing with only "none" has a fixed colour."""

THINGS_ON: Final[dict[Ground, tuple[Thing, ...]]] = {
    "sea": ("boat", "birds", "lighthouse", "balloon"),
    "lake": ("boat", "birds", "tree", "balloon"),
    "beach": ("boat", "birds", "lighthouse", "house"),
    "mountains": ("tree", "house", "birds", "balloon"),
    "desert": ("cactus", "birds", "balloon"),
    "meadow": ("tree", "house", "birds", "balloon"),
    "hills": ("tree", "house", "birds", "balloon"),
    "forest": ("house", "birds", "balloon"),
    "city": ("birds", "balloon"),
    "snow": ("tree", "house", "birds"),
}
"""The things that can stand on each ground."""

# Nature's odds, not equal odds: a prompt that leaves something open should get the prettier answer.
_TIME_ODDS: Final = (0.14, 0.12, 0.20, 0.22, 0.12, 0.20)
_GROUND_ODDS: Final = (0.15, 0.11, 0.08, 0.12, 0.09, 0.10, 0.08, 0.08, 0.11, 0.08)
_WEATHER_ODDS: Final[dict[Time, tuple[float, ...]]] = {
    "sunrise": (0.46, 0.34, 0.02, 0.10, 0.04, 0.04, 0.00, 0.00),
    "morning": (0.30, 0.34, 0.02, 0.14, 0.06, 0.07, 0.07, 0.00),
    "day": (0.24, 0.28, 0.09, 0.06, 0.11, 0.10, 0.12, 0.00),
    "sunset": (0.48, 0.40, 0.03, 0.05, 0.02, 0.02, 0.00, 0.00),
    "dusk": (0.48, 0.26, 0.06, 0.08, 0.06, 0.06, 0.00, 0.00),
    "night": (0.50, 0.10, 0.08, 0.03, 0.06, 0.08, 0.00, 0.15),
}


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """One scene.

    Attributes:
        side, height: where the sun or moon stands; ``height`` is 0 at the horizon and 1 at the top edge.
        colour: the colour of ``thing``; "none" where the thing has no choice of colour.
        seed: decides everything not named here (ridges, cloud shapes, window lights).
    """

    time: Time
    weather: Weather
    ground: Ground
    body: Body
    side: Side
    height: float
    thing: Thing
    colour: Colour
    seed: int

    @property
    def is_high(self) -> bool:
        """Whether the sun or moon stands high enough for a caption to say so."""
        return self.body != "none" and self.height > 0.55

    @property
    def is_low(self) -> bool:
        """Whether the sun or moon stands low enough for a caption to say so."""
        return self.body != "none" and self.height < 0.35


def random_spec(rng: np.random.Generator) -> SceneSpec:
    """Draw a scene that nature allows: no moon at noon, no cactus in the snow."""
    time = TIMES[int(rng.choice(len(TIMES), p=_TIME_ODDS))]
    ground = GROUNDS[int(rng.choice(len(GROUNDS), p=_GROUND_ODDS))]
    weather = WEATHERS[int(rng.choice(len(WEATHERS), p=_WEATHER_ODDS[time]))]
    if ground == "desert" and weather == "snowfall":
        weather = "clear"
    body = _random_body(rng, time, weather)
    side = SIDES[int(rng.choice(3, p=(0.3, 0.4, 0.3)))]
    height = _random_height(rng, time, body)
    if ground in ("city", "mountains", "forest", "lake") and body != "none":
        height = (0.28 if ground == "lake" else 0.42) + 0.55 * height  # clear of towers and peaks
    thing, colour = _random_thing(rng, ground)
    return SceneSpec(time, weather, ground, body, side, height, thing, colour, int(rng.integers(2**31)))


def _random_body(rng: np.random.Generator, time: Time, weather: Weather) -> Body:
    """Pick sun, moon or neither; a closed sky hides both."""
    if weather in ("storm", "rain", "snowfall", "rainbow"):
        return "none"
    if weather == "fog":
        return "sun" if time in ("sunrise", "sunset") and rng.random() < 0.6 else "none"
    if weather == "aurora":
        return "none"
    match time:
        case "sunrise" | "sunset":
            return "sun" if rng.random() < 0.92 else "none"
        case "morning" | "day":
            return "sun" if rng.random() < 0.62 else "none"
        case "dusk":
            return "moon" if rng.random() < 0.45 else "none"
        case "night":
            return "moon" if rng.random() < 0.72 else "none"


def _random_height(rng: np.random.Generator, time: Time, body: Body) -> float:
    """Pick how high the sun or moon stands, 0 (horizon) to 1 (top edge)."""
    if body == "none":
        return 0.0
    low, high = {
        "sunrise": (0.06, 0.30),
        "sunset": (0.06, 0.30),
        "morning": (0.30, 0.62),
        "day": (0.52, 0.84),
        "dusk": (0.25, 0.80),
        "night": (0.25, 0.84),
    }[time]
    return float(rng.uniform(low, high))


def _random_thing(rng: np.random.Generator, ground: Ground) -> tuple[Thing, Colour]:
    """Pick a foreground thing that belongs on the ground, and its colour."""
    if rng.random() < 0.36:
        return "none", "none"
    things = THINGS_ON[ground]
    thing = things[int(rng.integers(len(things)))]
    colours = COLOURS_OF[thing]
    return thing, colours[int(rng.integers(len(colours)))]
