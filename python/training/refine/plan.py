"""What the training is to add to the exported weights: which scenes, how often, how fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..config import Bucket
from ..scenes.spec import SceneSpec

Accepts = Callable[[SceneSpec], bool]


@dataclass(frozen=True, slots=True)
class Focus:
    """A kind of scene.

    Attributes:
        share: of all draws.
        count: scenes of it, times the plan's ``scale``.
        accepts: whether a random scene is of this kind.
        is_brief: whether the captions say the time or the ground and no more.
    """

    name: str
    share: float
    count: int
    accepts: Accepts
    is_brief: bool = False


def _is_open(spec: SceneSpec) -> bool:
    """Whether a caption may be silent on all but the time or the ground."""
    return spec.weather in ("clear", "clouds") and spec.thing == "none"


FOCUSES: Final[tuple[Focus, ...]] = (
    # One draw in three is of all there is, rare things as often as common ones, so that nothing is forgotten.
    Focus("everything", 0.35, 1400, lambda _spec: True),
    # One scene in sixty is a city in the light without a thing; its straight walls are what the model draws worst.
    Focus(
        "towers",
        0.17,
        400,
        lambda spec: spec.ground == "city" and spec.time in ("morning", "day", "sunset") and _is_open(spec),
    ),
    # One scene in thirty has flakes in the light, and the model leaves them out.
    Focus(
        "flakes",
        0.08,
        300,
        lambda spec: spec.weather == "snowfall" and spec.time in ("sunrise", "morning", "day", "sunset"),
    ),
    # The model has never seen stars that its decoder could draw.
    Focus("stars", 0.08, 300, lambda spec: spec.weather == "clear" and spec.time == "night" and spec.thing == "none"),
    # Prompts such as "a beautiful sunset" are one caption in thirty, and a seed decides what they leave open: here it
    # decides between clear and clouded skies only.
    Focus("brief", 0.18, 500, lambda spec: _is_open(spec) and spec.ground != "city", is_brief=True),
    # Fog keeps its word and its look while everything beside it learns to be clear.
    Focus("fog", 0.04, 150, lambda spec: spec.weather == "fog"),
    # Full captions of empty scenes: with three draws in four showing a thing, a thing became the likely answer.
    Focus("plain", 0.10, 300, _is_open),
)

NATIVE: Final = (256, 256)
SIZES: Final = (Bucket(256, 384, 100), Bucket(384, 256, 100), Bucket(320, 320, 100), Bucket(192, 192, 100))
"""Other sizes, of all kinds of scenes, so that they keep working."""

SPOILED: Final = 150
"""Spoiled scenes for the negative prompts."""

PICTURES: Final = {"everything": 200, "towers": 100, "flakes": 60, "stars": 140}
"""Scenes of each focus that the decoders see: a night sky is dull, but for its stars."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one part learns.

    Attributes:
        warmup: steps until the learning rate is reached.
        ema: how much of the average of the weights a step keeps.
        steps: at most.
        share: of the time of a run that has a limit, at most.
    """

    batch: int
    learning_rate: float
    warmup: int
    ema: float
    steps: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class RefinePlan:
    """What trains how fast.

    Attributes:
        scale: how many times the scenes of ``FOCUSES``, ``SIZES``, ``SPOILED`` and ``PICTURES`` are drawn.
        captions: prompts of each scene; they are made and encoded once.
        crop: side of the squares that the decoders see, in pixels.
        evaluate_every: steps from one look at the held-out scenes to the next.
    """

    scale: int
    captions: int
    unet: Pace
    decoder: Pace
    tiny: Pace
    crop: int
    native_share: float
    evaluate_every: int


_ALWAYS: Final = 1_000_000

CPU: Final = RefinePlan(
    scale=1,
    captions=4,
    unet=Pace(batch=32, learning_rate=1e-4, warmup=50, ema=0.99, steps=_ALWAYS),
    decoder=Pace(batch=4, learning_rate=4e-4, warmup=30, ema=0.98, steps=2000, share=0.2),
    tiny=Pace(batch=4, learning_rate=8e-4, warmup=30, ema=0.98, steps=400, share=0.05),
    crop=128,
    native_share=0.9,
    evaluate_every=100,
)
"""For hours on a few cores: a thousand steps see every scene ten times."""

CUDA: Final = RefinePlan(
    scale=5,
    captions=6,
    unet=Pace(batch=256, learning_rate=4e-4, warmup=200, ema=0.999, steps=_ALWAYS),
    decoder=Pace(batch=32, learning_rate=5e-4, warmup=100, ema=0.995, steps=8000, share=0.12),
    tiny=Pace(batch=32, learning_rate=1e-3, warmup=100, ema=0.995, steps=3000, share=0.05),
    crop=128,
    native_share=0.9,
    evaluate_every=1000,
)
"""For minutes on one GPU, which sees more images than the CPU in a day: more scenes, or it learns them by heart."""
