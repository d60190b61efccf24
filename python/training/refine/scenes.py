"""The scenes of every focus, drawn and encoded once; only their latents are kept."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from ..autoencoder import scaled_latents, to_pixels
from ..batches import Shelf, scene_odds
from ..config import Bucket
from ..latents import degrade
from ..progress import Progress
from ..scenes.draw import draw_scene
from ..scenes.spec import SceneSpec, random_spec
from .plan import FOCUSES, NATIVE, SIZES, SPOILED, Focus

_CHUNK: Final = 20
_TRIES: Final = 100_000
_HELD_OUT_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """One set of scenes: its name, a focus, a size and how many; ``is_spoiled`` ones are blurred and dull."""

    name: str
    focus: Focus
    bucket: Bucket
    seed: int
    is_spoiled: bool = False


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


def training_shelves(folder: Path, vae: AutoencoderKL, scale: int, processes: int) -> list[Shelf]:
    """What to train on: all focuses in the native size, then the other sizes."""
    native = [
        Drawing(f"{focus.name}-x{scale}", focus, Bucket(*NATIVE, focus.count * scale), seed=0) for focus in FOCUSES
    ]
    shelves = [load_shelf(folder, vae, drawing, processes) for drawing in native]
    odds = [focus.share * shelf.odds for focus, shelf in zip(FOCUSES, shelves, strict=True)]
    merged = Shelf(
        Bucket(*NATIVE, sum(len(shelf.specs) for shelf in shelves)),
        np.concatenate([shelf.latents for shelf in shelves]),
        [spec for shelf in shelves for spec in shelf.specs],
        np.concatenate(odds) / sum(focus.share for focus in FOCUSES),
        np.concatenate([shelf.is_brief for shelf in shelves]),
    )
    others = [
        Drawing(f"{size.name}-x{scale}", FOCUSES[0], replace(size, count=size.count * scale), seed=2 + index)
        for index, size in enumerate(SIZES)
    ]
    return [merged, *(load_shelf(folder, vae, drawing, processes) for drawing in others)]


def held_out_shelves(folder: Path, vae: AutoencoderKL, count: int, processes: int) -> dict[str, Shelf]:
    """``count`` scenes of every focus that are never trained on."""
    drawings = [Drawing(f"{focus.name}-held-out", focus, Bucket(*NATIVE, count), _HELD_OUT_SEED) for focus in FOCUSES]
    return {drawing.focus.name: load_shelf(folder, vae, drawing, processes) for drawing in drawings}


def spoiled_latents(folder: Path, vae: AutoencoderKL, scale: int, processes: int) -> NDArray[np.float32]:
    """Latents of spoiled scenes of the native size, for the negative prompts."""
    bucket = Bucket(*NATIVE, SPOILED * scale)
    drawing = Drawing(f"spoiled-x{scale}", FOCUSES[0], bucket, seed=7, is_spoiled=True)
    return load_shelf(folder, vae, drawing, processes).latents


def load_shelf(folder: Path, vae: AutoencoderKL, drawing: Drawing, processes: int) -> Shelf:
    """The latents of one set of scenes, drawn first where they are not on disk yet."""
    count = drawing.bucket.count
    specs = [focus_spec(drawing.focus, drawing.seed, index) for index in range(count)]
    path = folder / f"{drawing.name}.npy"
    if not path.exists():
        _draw(path, vae, drawing, specs, processes)
    is_even = drawing.focus is not FOCUSES[0]
    odds = np.full(count, 1.0 / count) if is_even else scene_odds(specs)
    return Shelf(drawing.bucket, np.load(path), specs, odds, np.full(count, drawing.focus.is_brief))


def _draw(path: Path, vae: AutoencoderKL, drawing: Drawing, specs: list[SceneSpec], processes: int) -> None:
    chunks = [specs[start : start + _CHUNK] for start in range(0, len(specs), _CHUNK)]
    progress, latents = Progress(f"draw {drawing.name}", len(specs)), []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for pictures in pool.imap(partial(_draw_chunk, drawing.bucket, drawing.is_spoiled), chunks):
            with torch.no_grad():
                latents.append(scaled_latents(vae, to_pixels(pictures)).numpy())
            progress.show(sum(len(part) for part in latents))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        np.save(file, np.concatenate(latents))
    os.replace(temporary, path)


def _draw_chunk(bucket: Bucket, is_spoiled: bool, specs: list[SceneSpec]) -> NDArray[np.uint8]:
    pictures = [draw_scene(spec, bucket.height, bucket.width) for spec in specs]
    if is_spoiled:
        pictures = [
            degrade(picture, np.random.default_rng(spec.seed)) for spec, picture in zip(specs, pictures, strict=True)
        ]
    return np.stack(pictures)
