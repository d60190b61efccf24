"""Train the text encoders and the UNet on the cached latents."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from .attributes import attribute_loss
from .batches import BatchMaker, NoisyBatch, add_noise, load_shelves
from .checkpoint import Machine, learning_rate, load_checkpoint, save_checkpoint, step_rng
from .config import DiffusionRecipe, Recipe
from .latents import degraded_path
from .networks import Networks, build_networks, build_scheduler
from .parallel import GradientPool, part_slices
from .progress import Progress

_SAVE_EVERY: Final = 100
_PART_LATENT_PIXELS: Final = 16 * 32 * 32
_SMALL_SHARE: Final = 0.05
_PROBE_WEIGHT: Final = 0.1


def shrink_at(step: int, plan: DiffusionRecipe, rng: np.random.Generator) -> int:
    """By how much a step shrinks its scenes: a lot at first, not at all later on except now and then."""
    if step < plan.quarter_steps:
        return 4
    if step < plan.quarter_steps + plan.half_steps or rng.random() < _SMALL_SHARE:
        return 2
    return 1


def part_size(latents: Tensor, workers: int) -> int:
    """How many rows of a batch one core takes at a time: its share, or sixteen native pictures if that is more."""
    return max(1, min(-(-len(latents) // workers), _PART_LATENT_PIXELS // (latents.shape[2] * latents.shape[3])))


def velocity_loss(networks: Networks, noised: NoisyBatch, rows: slice, machine: Machine) -> tuple[Tensor, Tensor]:
    """The clipped-SNR weighted error of the predicted velocity for some rows of a batch, and their text embeddings."""
    device = machine.device
    with machine.autocast():
        embeddings, pooled = networks.encode(noised.batch.ids[rows].to(device))
        keep = (~noised.batch.is_zeroed[rows]).to(device=device, dtype=embeddings.dtype)
        output = networks.predict(
            noised.noisy[rows].to(device),
            noised.steps[rows].to(device),
            embeddings * keep[:, None, None],
            pooled * keep[:, None],
            noised.batch.time_ids[rows].to(device),
        )
    error = (output.float() - noised.velocity[rows].to(device)).square().mean(dim=(1, 2, 3))
    return (noised.weight[rows].to(device) * error).mean(), embeddings


def diffusion_loss(networks: Networks, noised: NoisyBatch, rows: slice, machine: Machine) -> Tensor:
    """The loss of the velocities for some rows of a batch, and the probe's error on their embeddings."""
    loss, embeddings = velocity_loss(networks, noised, rows, machine)
    labels = noised.batch.labels[rows].to(machine.device)
    return loss + _PROBE_WEIGHT * attribute_loss(networks.probe, embeddings, labels)


def batch_parts(noised: NoisyBatch, machine: Machine) -> list[slice]:
    """The parts of a batch that the machine works on at a time; a GPU takes it whole."""
    count = len(noised.steps)
    return part_slices(count, count if machine.workers == 1 else part_size(noised.noisy, machine.workers))


def train_diffusion(recipe: Recipe, folder: Path, machine: Machine, until: int | None = None) -> Networks:
    """Train (or finish training) the diffusion model from the checkpoint ``diffusion.pt``, if any.

    Args:
        folder: holds the cached latents and takes the checkpoint.
        until: stop early after this step; for tests of resuming.

    Returns:
        The averaged (EMA) networks on the CPU.
    """
    plan = recipe.diffusion
    networks, tokenizer = build_networks(plan, folder, recipe.seed)
    maker = BatchMaker(plan, load_shelves(recipe, folder), np.load(degraded_path(folder)), tokenizer)
    networks.to(machine.device).train()
    average = copy.deepcopy(networks).requires_grad_(False)
    optimizer = torch.optim.AdamW(networks.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    first, path = 0, folder / "diffusion.pt"
    if (state := load_checkpoint(path)) is not None:
        first = int(state["step"])
        networks.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    last = plan.steps if until is None else min(until, plan.steps)
    alphas = build_scheduler().alphas_cumprod
    progress, shown = Progress("diffusion", plan.steps, first), 0.0
    with GradientPool(networks, machine.workers) as pool:
        for step in range(first, last):
            rng, generator = step_rng(recipe.seed, 3, step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, plan.steps, plan.learning_rate, plan.warmup)
            noised = add_noise(maker.make(rng, shrink_at(step, plan, rng)), alphas, plan, generator)
            count, parts = len(noised.steps), batch_parts(noised, machine)

            def loss_of(index: int, noised: NoisyBatch = noised, parts: list[slice] = parts) -> Tensor:
                return diffusion_loss(networks, noised, parts[index], machine)

            value = pool.run(loss_of, [len(noised.steps[rows]) / count for rows in parts])
            nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
            optimizer.step()
            update_average(average, networks, min(plan.ema, (step + 1) / (step + 10)))
            shown = value if step == first else 0.98 * shown + 0.02 * value
            progress.show(step + 1, f"loss {shown:.4f}")
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == last:
                model, ema = networks.state_dict(), average.state_dict()
                state = {"step": step + 1, "model": model, "average": ema, "optimizer": optimizer.state_dict()}
                save_checkpoint(path, state)
    return average.to("cpu").eval()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, keep: float) -> None:
    """Move every averaged weight towards the trained one: ``keep`` of the old, the rest of the new."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - keep)
