"""The cached scenes: drawn once, in parallel, kept as bytes on disk."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import Bucket, Recipe
from .progress import Progress
from .scenes.draw import draw_scene
from .scenes.spec import SceneSpec, random_spec

_CHUNK = 50


def scene_spec(seed: int, bucket: Bucket, index: int) -> SceneSpec:
    """The spec of one scene of the data set; needs no drawing."""
    return random_spec(np.random.default_rng((seed, bucket.height, bucket.width, index)))


def scene_specs(seed: int, bucket: Bucket) -> list[SceneSpec]:
    """The specs of all scenes of a bucket, in file order."""
    return [scene_spec(seed, bucket, index) for index in range(bucket.count)]


def pictures_path(folder: Path, bucket: Bucket) -> Path:
    """Where the pictures of a bucket are cached."""
    return folder / f"scenes-{bucket.name}.npy"


def load_pictures(folder: Path, bucket: Bucket) -> NDArray[np.uint8]:
    """Map the pictures of a bucket, count x height x width x 3 bytes.

    Raises:
        FileNotFoundError: if the bucket has not been drawn.
    """
    return np.load(pictures_path(folder, bucket), mmap_mode="r")


def draw_all(recipe: Recipe, folder: Path, processes: int) -> None:
    """Draw every bucket that is not on disk yet; a half-drawn bucket starts again."""
    folder.mkdir(parents=True, exist_ok=True)
    for bucket in recipe.buckets:
        path = pictures_path(folder, bucket)
        if path.exists():
            continue
        partial_path = path.with_suffix(".partial")
        shape = (bucket.count, bucket.height, bucket.width, 3)
        pictures = np.lib.format.open_memmap(partial_path, mode="w+", dtype=np.uint8, shape=shape)
        progress = Progress(f"draw {bucket.name}", bucket.count)
        chunks = [range(start, min(start + _CHUNK, bucket.count)) for start in range(0, bucket.count, _CHUNK)]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            draw = partial(_draw_chunk, recipe.seed, bucket)
            for chunk, drawn in zip(chunks, pool.imap(draw, chunks), strict=True):
                pictures[chunk.start : chunk.stop] = drawn
                progress.show(chunk.stop)
        pictures.flush()
        os.replace(partial_path, path)


def _draw_chunk(seed: int, bucket: Bucket, indices: Sequence[int]) -> NDArray[np.uint8]:
    return np.stack([draw_scene(scene_spec(seed, bucket, index), bucket.height, bucket.width) for index in indices])
