"""The scenes of every focus, drawn and encoded once; only their latents are kept, and pictures for the decoders."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from ..autoencoder import latents_of_thumbnails
from ..batches import Shelf, scene_odds
from ..config import Bucket
from ..progress import Progress
from ..prompts import Prompt
from .drawing import Drawing, choose_prompts, draw_pictures, draw_thumbnails, drawing_specs, find_focus
from .plan import FOCUSES, NATIVE, PICTURES, SIZES, SPOILED

_CHUNK: Final = 20
_HELD_OUT_SEED: Final = 1

Arrays = NDArray[Any]


@contextmanager
def drawing_pool(processes: int) -> Iterator[Pool]:
    """Processes that draw while this one trains."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool


@dataclass(frozen=True, slots=True)
class PromptedShelf:
    """A shelf, and as many prompts for each of its scenes, scene by scene."""

    shelf: Shelf
    prompts: list[Prompt]


def start_pictures(folder: Path, scale: int, pool: Pool) -> Callable[[], NDArray[np.uint8]]:
    """Begin to draw what the decoders see; the result waits for it: bytes, N x H x W x 3, mapped from disk."""
    drawings = [
        Drawing(f"pictures-{name}-x{scale}", name, Bucket(*NATIVE, count * scale), seed=3)
        for name, count in PICTURES.items()
    ]
    waits = [_start(folder, drawing, draw_pictures, np.asarray, pool) for drawing in drawings]
    return lambda: np.concatenate([wait() for wait in waits])


def start_training_shelves(
    folder: Path, vae: AutoencoderKL, scale: int, captions: int, pool: Pool
) -> Callable[[], list[PromptedShelf]]:
    """Begin to draw what to train on: all focuses in the native size, then the other sizes."""
    native = [
        Drawing(f"{focus.name}-x{scale}", focus.name, Bucket(*NATIVE, focus.count * scale), 0) for focus in FOCUSES
    ]
    others = [
        Drawing(f"{size.name}-x{scale}", FOCUSES[0].name, replace(size, count=size.count * scale), seed=4 + index)
        for index, size in enumerate(SIZES)
    ]
    waits = [start_shelf(folder, vae, drawing, pool) for drawing in native + others]
    prompts = [pool.imap(partial(choose_prompts, drawing, captions), _chunks(drawing)) for drawing in native + others]

    def wait() -> list[PromptedShelf]:
        done = [
            PromptedShelf(wait(), [prompt for some in chunks for prompt in some])
            for wait, chunks in zip(waits, prompts, strict=True)
        ]
        return [_merged(done[: len(native)]), *done[len(native) :]]

    return wait


def _merged(parts: list[PromptedShelf]) -> PromptedShelf:
    """The shelves of all focuses as one, each with its share of the draws."""
    shelves = [part.shelf for part in parts]
    odds = [focus.share * shelf.odds for focus, shelf in zip(FOCUSES, shelves, strict=True)]
    merged = Shelf(
        Bucket(*NATIVE, sum(len(shelf.specs) for shelf in shelves)),
        np.concatenate([shelf.latents for shelf in shelves]),
        [spec for shelf in shelves for spec in shelf.specs],
        np.concatenate(odds) / sum(focus.share for focus in FOCUSES),
        np.concatenate([shelf.is_brief for shelf in shelves]),
    )
    return PromptedShelf(merged, [prompt for part in parts for prompt in part.prompts])


def start_held_out_shelves(folder: Path, vae: AutoencoderKL, count: int, pool: Pool) -> Callable[[], dict[str, Shelf]]:
    """Begin to draw ``count`` scenes of every focus that are never trained on."""
    waits = {
        focus.name: start_shelf(
            folder, vae, Drawing(f"{focus.name}-held-out", focus.name, Bucket(*NATIVE, count), _HELD_OUT_SEED), pool
        )
        for focus in FOCUSES
    }
    return lambda: {name: wait() for name, wait in waits.items()}


def start_spoiled(folder: Path, vae: AutoencoderKL, scale: int, pool: Pool) -> Callable[[], NDArray[np.float32]]:
    """Begin to draw spoiled scenes of the native size, for the negative prompts; the result is their latents."""
    drawing = Drawing(f"spoiled-x{scale}", FOCUSES[0].name, Bucket(*NATIVE, SPOILED * scale), seed=8, is_spoiled=True)
    wait = start_shelf(folder, vae, drawing, pool)
    return lambda: wait().latents


def start_shelf(folder: Path, vae: AutoencoderKL, drawing: Drawing, pool: Pool) -> Callable[[], Shelf]:
    """Begin to draw one set of scenes where it is not on disk yet; the result waits for it."""

    def encode(thumbnails: Arrays) -> Arrays:
        return latents_of_thumbnails(vae, torch.from_numpy(thumbnails)).numpy()

    wait = _start(folder, drawing, draw_thumbnails, encode, pool)
    specs = pool.imap(partial(drawing_specs, drawing), _chunks(drawing))

    def shelf() -> Shelf:
        latents, all_specs = wait(), [spec for some in specs for spec in some]
        count, focus = len(all_specs), find_focus(drawing.focus)
        odds = scene_odds(all_specs) if focus.name == FOCUSES[0].name else np.full(count, 1.0 / count)
        return Shelf(drawing.bucket, latents, all_specs, odds, np.full(count, focus.is_brief))

    return shelf


def _chunks(drawing: Drawing) -> list[range]:
    count = drawing.bucket.count
    return [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def _start(
    folder: Path,
    drawing: Drawing,
    draw: Callable[[Drawing, range], Arrays],
    convert: Callable[[Arrays], Arrays],
    pool: Pool,
) -> Callable[[], Arrays]:
    """Begin a drawing, unless ``folder`` has it, and return what waits for it."""
    path = folder / f"{drawing.name}.npy"
    chunks = None if path.exists() else pool.imap(partial(draw, drawing), _chunks(drawing))
    return lambda: np.load(path) if chunks is None else _collect(path, drawing, map(convert, chunks))


def _collect(path: Path, drawing: Drawing, chunks: Iterable[Arrays]) -> Arrays:
    progress, parts = Progress(f"draw {drawing.name}", drawing.bucket.count), []
    for part in chunks:
        parts.append(part)
        progress.show(sum(map(len, parts)))
    result = np.concatenate(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        np.save(file, result)
    os.replace(temporary, path)
    return result
