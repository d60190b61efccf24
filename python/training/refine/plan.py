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
    # Two draws in five are of all there is, rare things as often as common ones, so that nothing is forgotten.
    Focus("everything", 0.40, 1400, lambda _spec: True),
    # One scene in sixty is a city in the light without a thing; its straight walls are what the model draws worst.
    Focus(
        "towers",
        0.18,
        400,
        lambda spec: spec.ground == "city" and spec.time in ("morning", "day", "sunset") and _is_open(spec),
    ),
    # One scene in thirty has flakes in the light, and the model leaves them out.
    Focus(
        "flakes",
        0.12,
        300,
        lambda spec: spec.weather == "snowfall" and spec.time in ("sunrise", "morning", "day", "sunset"),
    ),
    # Prompts such as "a beautiful sunset" are one caption in thirty, and a seed decides what they leave open: here it
    # decides between clear and clouded skies only.
    Focus("brief", 0.18, 500, lambda spec: _is_open(spec) and spec.ground != "city", is_brief=True),
    # Fog keeps its word and its look while everything beside it learns to be clear.
    Focus("fog", 0.04, 150, lambda spec: spec.weather == "fog"),
    # Full captions of empty scenes: with three draws in four showing a thing, a thing became the likely answer.
    Focus("plain", 0.08, 250, _is_open),
)

NATIVE: Final = (256, 256)
SIZES: Final = (Bucket(256, 384, 100), Bucket(384, 256, 100), Bucket(320, 320, 100), Bucket(192, 192, 100))
"""Other sizes, of all kinds of scenes, so that they keep working."""

SPOILED: Final = 150
"""Spoiled scenes for the negative prompts."""


@dataclass(frozen=True, slots=True)
class RefinePlan:
    """How fast to train.

    The rate is constant after the warm-up and the average of the weights is what counts, so that a run may be stopped
    at any moment.

    Attributes:
        scale: how many times the scenes of ``FOCUSES``, ``SIZES`` and ``SPOILED`` are drawn.
        evaluate_every: steps from one look at the held-out scenes to the next.
    """

    scale: int
    batch: int
    learning_rate: float
    warmup: int
    ema: float
    native_share: float
    evaluate_every: int


CPU: Final = RefinePlan(
    scale=1, batch=32, learning_rate=1e-4, warmup=50, ema=0.99, native_share=0.9, evaluate_every=100
)
"""For hours on a few cores: a thousand steps see every scene ten times."""

CUDA: Final = RefinePlan(
    scale=4, batch=256, learning_rate=3e-4, warmup=200, ema=0.999, native_share=0.9, evaluate_every=500
)
"""For ten minutes on one GPU, which sees more images than the CPU in a day: more scenes, or it learns them by heart."""
