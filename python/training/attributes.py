"""What a caption says of its scene, as class numbers that the text encoders learn to tell.

A word that moves something in the picture, such as the side of the sun, is learned only once the text encoders tell it
apart and the UNet tells left from right; while neither does, neither is rewarded. A linear probe on the embeddings
rewards the first at once. It is used in training only.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from .captions import Mention
from .scenes.spec import COLOURS_OF, GROUNDS, SIDES, TIMES, WEATHERS, SceneSpec

_THINGS: Final = tuple(COLOURS_OF)
_COLOURS: Final = tuple(sorted({colour for colours in COLOURS_OF.values() for colour in colours}))
_CLASSES: Final[tuple[tuple[str, ...], ...]] = (TIMES, WEATHERS, GROUNDS, SIDES, _THINGS, _COLOURS)
_SIZES: Final = [len(classes) for classes in _CLASSES]
_IGNORED: Final = -100  # As cross_entropy calls it.

CLASS_COUNT: Final = sum(_SIZES)
"""Outputs of a probe."""

UNSAID: Final = (_IGNORED,) * len(_CLASSES)
"""The labels of a caption that says nothing."""


def labels_of(spec: SceneSpec, mention: Mention) -> tuple[int, ...]:
    """The class of each attribute that a caption mentions, and -100 for the others."""
    said = (mention.time, mention.weather, mention.ground, mention.body, mention.thing, mention.colour)
    values = (spec.time, spec.weather, spec.ground, spec.side, spec.thing, spec.colour)
    return tuple(
        classes.index(value) if is_said else _IGNORED
        for is_said, value, classes in zip(said, values, _CLASSES, strict=True)
    )


def attribute_loss(probe: nn.Linear, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over captions and attributes.

    Args:
        embeddings: N x 77 x 2w; most of the 77 are padding, which has read the whole text.
        labels: N x attributes, -100 for what was not said.
    """
    logits = probe(embeddings.mean(dim=1)).float().split(_SIZES, dim=1)
    losses = [
        nn.functional.cross_entropy(scores, labels[:, index], ignore_index=_IGNORED, reduction="sum")
        for index, scores in enumerate(logits)
    ]
    return torch.stack(losses).sum() / labels.numel()
