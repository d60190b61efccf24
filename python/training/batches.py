"""Training batches: scenes from the cached latents, fresh captions for them, and their noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from .attributes import UNSAID, labels_of
from .config import Bucket, DiffusionRecipe, Recipe
from .dataset import scene_specs
from .latents import latents_path
from .networks import tokenize
from .prompts import choose_prompt, spoiled_prompt
from .scenes.spec import SceneSpec

_PLAIN_SHARE: Final = 0.25


@dataclass(frozen=True, slots=True)
class Shelf:
    """One bucket's latents (N x 4 x h x w) and specs, how likely each is to be drawn, and which have brief captions."""

    bucket: Bucket
    latents: NDArray[np.float32]
    specs: list[SceneSpec]
    odds: NDArray[np.float64]
    is_brief: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: latents N x 4 x h x w, ids N x 77, labels N x attributes, time ids N x 6, ``is_zeroed`` N."""

    latents: Tensor
    ids: Tensor
    labels: Tensor
    time_ids: Tensor
    is_zeroed: Tensor


class BatchMaker:
    """Makes the batch of any training step from that step's random numbers alone."""

    def __init__(
        self,
        plan: DiffusionRecipe,
        shelves: Sequence[Shelf],
        degraded: NDArray[np.float32],
        tokenizer: CLIPTokenizer,
    ) -> None:
        """Take the shelves, the first of the native size, and the latents of the spoiled pictures of that size."""
        self._plan, self._shelves, self._degraded, self._tokenizer = plan, shelves, degraded, tokenizer

    def make(self, rng: np.random.Generator, shrink: int) -> Batch:
        """Draw a batch of scenes of one size with fresh captions; ``shrink`` (1, 2 or 4) divides the native size."""
        shelf = self._shelves[0] if shrink > 1 else self._pick_shelf(rng)
        native = self._shelves[0].bucket
        area_ratio = native.height * native.width / (shelf.bucket.height * shelf.bucket.width)
        count = max(2, round(self._plan.batch * shrink * area_ratio))
        chosen = rng.choice(len(shelf.latents), count, p=shelf.odds)
        latents = shelf.latents[chosen]
        texts, labels, is_zeroed = [], [], np.zeros(count, bool)
        for row, index in enumerate(chosen):
            spec = shelf.specs[int(index)]
            prompt = choose_prompt(spec, rng, is_brief=bool(shelf.is_brief[index]))
            if prompt.may_spoil and shelf is self._shelves[0]:
                prompt = spoiled_prompt(rng)
                latents[row] = self._degraded[int(rng.integers(len(self._degraded)))]
            texts.append(prompt.text)
            labels.append(UNSAID if prompt.mention is None else labels_of(spec, prompt.mention))
            is_zeroed[row] = prompt.is_zeroed
        height, width = shelf.bucket.height, shelf.bucket.width
        if shrink > 1:
            # A latent pixel is a thumbnail pixel: averaging a few gives the latents of the scene at a smaller size.
            height, width = height // shrink, width // shrink
            latents = latents.reshape(count, 4, height // 8, shrink, width // 8, shrink).mean(axis=(3, 5))
        time_ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).expand(count, 6)
        ids = tokenize(self._tokenizer, texts)
        return Batch(torch.from_numpy(latents), ids, torch.tensor(labels), time_ids, torch.from_numpy(is_zeroed))

    def _pick_shelf(self, rng: np.random.Generator) -> Shelf:
        if len(self._shelves) == 1 or rng.random() < self._plan.square_share:
            return self._shelves[0]
        return self._shelves[1 + int(rng.integers(len(self._shelves) - 1))]


def scene_odds(specs: list[SceneSpec]) -> NDArray[np.float64]:
    """How likely each scene is to be drawn: a quarter of the draws are of scenes without a foreground thing, and among
    the others a rare thing (one scene in fifty has a cactus) is drawn as often as a common one."""
    counts = Counter(spec.thing for spec in specs)
    shares = {
        thing: _PLAIN_SHARE if thing == "none" else (1.0 - _PLAIN_SHARE) / max(1, len(counts) - 1) for thing in counts
    }
    odds = np.array([shares[spec.thing] / counts[spec.thing] for spec in specs])
    return odds / odds.sum()


def load_shelves(recipe: Recipe, folder: Path) -> list[Shelf]:
    """A shelf for every bucket of the recipe, from the latents cached in ``folder``."""
    shelves = []
    for bucket in recipe.buckets:
        specs = scene_specs(recipe.seed, bucket)
        latents = np.load(latents_path(folder, bucket))
        shelves.append(Shelf(bucket, latents, specs, scene_odds(specs), np.zeros(len(specs), bool)))
    return shelves


@dataclass(frozen=True, slots=True)
class NoisyBatch:
    """A batch with its noise: ``noisy`` and its ``velocity`` N x 4 x h x w, ``steps`` and the loss ``weight`` N."""

    batch: Batch
    noisy: Tensor
    velocity: Tensor
    steps: Tensor
    weight: Tensor


def add_noise(batch: Batch, alphas: Tensor, plan: DiffusionRecipe, generator: torch.Generator) -> NoisyBatch:
    """Noise a batch at timesteps spread evenly over the schedule.

    Args:
        alphas: cumulative products of the schedule, one per timestep.
    """
    return NoisyBatch(batch, *noise_latents(batch.latents, alphas, plan, generator))


def noise_latents(
    latents: Tensor, alphas: Tensor, plan: DiffusionRecipe, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The last four fields of a ``NoisyBatch``; latents, ``alphas`` and generator are on one device."""
    (count, channels), device = latents.shape[:2], latents.device
    noise = torch.randn(latents.shape, generator=generator, device=device)
    noise = noise + plan.offset_noise * torch.randn((count, channels, 1, 1), generator=generator, device=device)
    # One timestep in each of N equal slices: the same average as independent draws, with far less variance. Sorting
    # random numbers shuffles them without a wait for the GPU.
    slices = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    order = torch.rand(count, generator=generator, device=device).argsort()
    steps = (slices[order] / count * len(alphas)).long().clamp_(max=len(alphas) - 1)
    alpha = alphas[steps][:, None, None, None]
    noisy = alpha.sqrt() * latents + (1.0 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1.0 - alpha).sqrt() * latents
    ratio = alphas[steps] / (1.0 - alphas[steps])
    # An error of the velocity is an error of the picture divided by the noise's share, whose square is 1 / (1 + ratio).
    return noisy, velocity, steps, ratio.clamp(plan.snr_floor, plan.min_snr) / (1.0 + ratio)
