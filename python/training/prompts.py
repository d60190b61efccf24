"""What the model is told of a scene: a caption, or now and then an opposite to guide away from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .captions import Mention, caption, degraded_caption
from .scenes.spec import SceneSpec

# How the unconditional model learns. Pipelines use zero embeddings when no negative prompt is given, an encoded empty
# text when it is "", and many callers always send the same negative words; all three must be good opposites.
_ZEROS_SHARE: Final = 0.04
_EMPTY_SHARE: Final = 0.02
_NEGATIVE_SHARE: Final = 0.03

SPOILED_SHARE: Final = 0.02
"""Of the draws that show a spoiled scene and say so."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and what it mentions of the scene.

    Attributes:
        mention: None where the text says nothing of the scene.
        is_zeroed: whether the model is told nothing at all: zero embeddings.
        may_spoil: whether this draw is one of those that show a spoiled scene instead, where there is one.
    """

    text: str
    mention: Mention | None
    is_zeroed: bool = False
    may_spoil: bool = False


def choose_prompt(spec: SceneSpec, rng: np.random.Generator, *, is_brief: bool) -> Prompt:
    """A fresh prompt for a scene; ``is_brief`` as for a caption."""
    lot = rng.random()
    text, mention = caption(spec, rng, is_brief=is_brief)
    if (lot := lot - _ZEROS_SHARE) < 0:
        return Prompt(text, mention, is_zeroed=True)
    if (lot := lot - _EMPTY_SHARE) < 0:
        return Prompt("", None)
    if (lot := lot - _NEGATIVE_SHARE) < 0:
        return spoiled_prompt(rng)
    return Prompt(text, mention, may_spoil=lot < SPOILED_SHARE)


def spoiled_prompt(rng: np.random.Generator) -> Prompt:
    """What a spoiled scene is called."""
    return Prompt(degraded_caption(rng), None)
