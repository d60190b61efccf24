"""How well the model predicts scenes it was never shown, kind by kind: minutes before pictures can be judged."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from transformers import CLIPTokenizer

from ..batches import BatchMaker, NoisyBatch, Shelf, add_noise
from ..checkpoint import Machine
from ..config import DiffusionRecipe
from ..diffusion import batch_parts, velocity_loss
from ..networks import Networks

SCENES: Final = 48
"""Held-out scenes of every kind; with one timestep each, spread evenly over the schedule."""


def held_out_batches(
    plan: DiffusionRecipe, shelves: dict[str, Shelf], alphas: torch.Tensor, tokenizer: CLIPTokenizer
) -> dict[str, NoisyBatch]:
    """The same scenes, captions and noise for every call, so that two losses differ by the weights alone."""
    batches = {}
    for name, shelf in shelves.items():
        maker = BatchMaker(plan, [shelf], shelf.latents[:1], tokenizer)
        batch = maker.make(np.random.default_rng(11), shrink=1)
        batches[name] = add_noise(batch, alphas, plan, torch.Generator().manual_seed(11))
    return batches


@torch.no_grad()
def held_out_losses(networks: Networks, batches: dict[str, NoisyBatch], machine: Machine) -> dict[str, float]:
    """The loss of every kind of scene."""
    losses = {}
    for name, noised in batches.items():
        count = len(noised.steps)
        parts = batch_parts(noised, machine)
        values = [float(velocity_loss(networks, noised, rows, machine)[0]) for rows in parts]
        weights = [len(noised.steps[rows]) / count for rows in parts]
        losses[name] = sum(value * weight for value, weight in zip(values, weights, strict=True))
    return losses
