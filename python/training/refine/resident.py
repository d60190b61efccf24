"""Batches drawn on the device itself: latents and encoded prompts lie there, so that a GPU waits for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from ..batches import noise_latents
from ..checkpoint import Machine, step_rng
from ..config import DiffusionRecipe
from ..networks import Networks, tokenize
from ..prompts import SPOILED_SHARE, Prompt, spoiled_prompt
from .scenes import PromptedShelf

_STAGE: Final = 5
_ENCODED_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class ResidentShelf:
    """Scenes of one size on the device.

    Attributes:
        latents: N x 4 x h x w.
        places: N cumulative odds: the first place that a random number 0 to 1 is below is the scene to draw.
        embeddings, pooled: NK x 77 x 2w and NK x w, K prompts for each scene.
        time_ids: the six size numbers.
    """

    latents: Tensor
    places: Tensor
    embeddings: Tensor
    pooled: Tensor
    time_ids: Tensor


class ResidentBatches:
    """Draws the batch of any training step from that step's random numbers alone."""

    def __init__(
        self, shelves: Sequence[ResidentShelf], recipe: DiffusionRecipe, alphas: Tensor, seed: int, device: torch.device
    ) -> None:
        """Take the shelves, the first of the native size, and ``alphas`` as ``noise_latents`` does."""
        self._shelves, self._recipe, self._seed = shelves, recipe, seed
        self._alphas, self._generator = alphas.to(device), torch.Generator(device)

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Noisy latents, timesteps, embeddings, pooled, time ids, velocity and weight, for ``resident_loss``."""
        numbers, _ = step_rng(self._seed, _STAGE, step)
        is_native = len(self._shelves) == 1 or numbers.random() < self._recipe.square_share
        shelf = self._shelves[0 if is_native else 1 + int(numbers.integers(len(self._shelves) - 1))]
        generator, device = self._generator.manual_seed(int(numbers.integers(2**63))), self._generator.device
        native_area, area = (some.latents[0, 0].numel() for some in (self._shelves[0], shelf))
        count = max(2, round(self._recipe.batch * native_area / area))
        lots = torch.rand(count, generator=generator, device=device)
        scenes = torch.searchsorted(shelf.places, lots, right=True).clamp_(max=len(shelf.latents) - 1)
        captions = len(shelf.embeddings) // len(shelf.latents)
        rows = scenes * captions + torch.randint(captions, (count,), generator=generator, device=device)
        noisy, velocity, steps, weight = noise_latents(shelf.latents[scenes], self._alphas, self._recipe, generator)
        time_ids = shelf.time_ids.expand(count, 6)
        return noisy, steps, shelf.embeddings[rows], shelf.pooled[rows], time_ids, velocity, weight


def resident_loss(networks: Networks, machine: Machine, *inputs: Tensor) -> Tensor:
    """The clipped-SNR weighted error of the predicted velocity, as ``velocity_loss`` has it."""
    noisy, steps, embeddings, pooled, time_ids, velocity, weight = inputs
    with machine.autocast():
        output = networks.predict(noisy, steps, embeddings, pooled, time_ids)
    return (weight * (output.float() - velocity).square().mean(dim=(1, 2, 3))).mean()


def place_shelves(
    prompted: Sequence[PromptedShelf],
    spoiled: NDArray[np.float32],
    networks: Networks,
    tokenizer: CLIPTokenizer,
    machine: Machine,
) -> list[ResidentShelf]:
    """Put shelves onto the device, and the spoiled scenes with the first; ``networks`` are there and encode."""
    placed = []
    for index, some in enumerate(prompted):
        shelf, prompts = some.shelf, some.prompts
        latents, odds = shelf.latents, shelf.odds
        if index == 0:
            rng, captions = np.random.default_rng(9), len(prompts) // len(shelf.specs)
            prompts = prompts + [spoiled_prompt(rng) for _ in range(captions * len(spoiled))]
            latents = np.concatenate([latents, spoiled])
            odds = np.concatenate([(1.0 - SPOILED_SHARE) * odds, np.full(len(spoiled), SPOILED_SHARE / len(spoiled))])
        embeddings, pooled = encode_prompts(prompts, networks, tokenizer, machine)
        height, width = shelf.bucket.height, shelf.bucket.width
        placed.append(
            ResidentShelf(
                torch.from_numpy(latents).to(machine.device),
                torch.from_numpy(odds.cumsum()).float().to(machine.device),
                embeddings,
                pooled,
                torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=machine.device),
            )
        )
    return placed


@torch.no_grad()
def encode_prompts(
    prompts: Sequence[Prompt], networks: Networks, tokenizer: CLIPTokenizer, machine: Machine
) -> tuple[Tensor, Tensor]:
    """The text encoders' embeddings and pooled embeddings of prompts, in the precision of the passes."""
    dtype = torch.bfloat16 if machine.is_bfloat16 else torch.float32
    embeddings, pooled = [], []
    for start in range(0, len(prompts), _ENCODED_AT_ONCE):
        some = prompts[start : start + _ENCODED_AT_ONCE]
        ids = tokenize(tokenizer, [prompt.text for prompt in some]).to(machine.device)
        keep = torch.tensor([not prompt.is_zeroed for prompt in some], dtype=torch.float32, device=machine.device)
        with machine.autocast():
            whole, short = networks.encode(ids)
        embeddings.append((whole * keep[:, None, None]).to(dtype))
        pooled.append((short * keep[:, None]).to(dtype))
    return torch.cat(embeddings), torch.cat(pooled)
