"""Draws scenes for the training, in processes that import nothing heavy: not even torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..config import Bucket
from ..prompts import Prompt, choose_prompt
from ..scenes.canvas import CELL
from ..scenes.draw import draw_scene
from ..scenes.spec import SceneSpec, random_spec
from ..scenes.spoil import degrade
from .plan import FOCUSES, Focus

_TRIES: Final = 100_000
_HALF: Final = CELL // 2
_LUMA: Final = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One set of scenes: its name, that of its focus, a size and how many; ``is_spoiled`` ones are blurred and dull."""

    name: str
    focus: str
    bucket: Bucket
    seed: int
    is_spoiled: bool = False


def find_focus(name: str) -> Focus:
    """The focus of that name."""
    return next(focus for focus in FOCUSES if focus.name == name)


def focus_spec(focus: Focus, seed: int, index: int) -> SceneSpec:
    """A random scene of a focus; needs no drawing.

    Raises:
        LookupError: if no random scene is of this kind.
    """
    rng = np.random.default_rng((seed, FOCUSES.index(focus), index))
    for _ in range(_TRIES):
        spec = random_spec(rng)
        if focus.accepts(spec):
            return spec
    raise LookupError(f"no scene is {focus.name}")


def drawing_specs(drawing: Drawing, rows: range) -> list[SceneSpec]:
    """Some of the scenes of a drawing."""
    focus = find_focus(drawing.focus)
    return [focus_spec(focus, drawing.seed, row) for row in rows]


def draw_pictures(drawing: Drawing, rows: range) -> NDArray[np.uint8]:
    """Some of a drawing's scenes as bytes, N x H x W x 3."""
    bucket, specs = drawing.bucket, drawing_specs(drawing, rows)
    pictures = [draw_scene(spec, bucket.height, bucket.width) for spec in specs]
    if drawing.is_spoiled:
        pairs = zip(specs, pictures, strict=True)
        pictures = [degrade(picture, np.random.default_rng(spec.seed)) for spec, picture in pairs]
    return np.stack(pictures)


def draw_thumbnails(drawing: Drawing, rows: range) -> NDArray[np.float32]:
    """What the encoder sees of some scenes of a drawing, N x 4 x H/8 x W/8: ``warmstart.thumbnails`` without torch."""
    pictures = draw_pictures(drawing, rows)
    count, height, width = pictures.shape[:3]
    # Whole rows first, as integers: a hundred times faster than means over blocks of floats.
    sums = pictures.reshape(count, height // _HALF, _HALF, width * 3).sum(axis=2, dtype=np.uint16)
    sums = sums.reshape(count, height // CELL, 2, width // CELL, CELL, 3).sum(axis=4, dtype=np.uint16)
    halves = sums.astype(np.float32) / (_HALF * CELL * 127.5) - 1.0
    colours = halves.mean(axis=2).transpose(0, 3, 1, 2)
    return np.concatenate([colours, ((halves[:, :, 0] - halves[:, :, 1]) @ _LUMA)[:, None]], axis=1)


def choose_prompts(drawing: Drawing, captions: int, rows: range) -> list[Prompt]:
    """``captions`` prompts for each of some of a drawing's scenes, scene by scene."""
    focus = find_focus(drawing.focus)
    rng = np.random.default_rng((drawing.seed, FOCUSES.index(focus), rows.start, 9))
    return [
        choose_prompt(spec, rng, is_brief=focus.is_brief)
        for spec in drawing_specs(drawing, rows)
        for _ in range(captions)
    ]
