"""Train the text encoders and the UNet on the cached latents."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTokenizer

from .attributes import UNSAID, attribute_loss, labels_of
from .captions import caption, degraded_caption
from .checkpoint import Machine, learning_rate, load_checkpoint, save_checkpoint, step_rng
from .config import Bucket, DiffusionRecipe, Recipe
from .dataset import scene_specs
from .latents import degraded_path, latents_path
from .networks import Networks, build_networks, build_scheduler, tokenize
from .parallel import GradientPool, part_slices
from .progress import Progress
from .scenes.spec import SceneSpec

_SAVE_EVERY: Final = 100
_PART_LATENT_PIXELS: Final = 16 * 32 * 32
_SMALL_SHARE: Final = 0.05
_PLAIN_SHARE: Final = 0.25
_PROBE_WEIGHT: Final = 0.1

# How the unconditional model learns. Pipelines use zero embeddings when no negative prompt is given, an encoded empty
# text when it is "", and many callers always send the same negative words; all three must be good opposites.
_ZEROS_SHARE: Final = 0.04
_EMPTY_SHARE: Final = 0.02
_NEGATIVE_SHARE: Final = 0.03
_DEGRADED_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Shelf:
    """One bucket's latents (N x 4 x h x w) and specs, and how likely each scene is to be drawn."""

    bucket: Bucket
    latents: NDArray[np.float32]
    specs: list[SceneSpec]
    odds: NDArray[np.float64]


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

    def __init__(self, recipe: Recipe, folder: Path, tokenizer: CLIPTokenizer) -> None:
        self._plan = recipe.diffusion
        self._tokenizer = tokenizer
        self._shelves = []
        for bucket in recipe.buckets:
            specs = scene_specs(recipe.seed, bucket)
            self._shelves.append(Shelf(bucket, np.load(latents_path(folder, bucket)), specs, scene_odds(specs)))
        self._degraded: NDArray[np.float32] = np.load(degraded_path(folder))

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
            lot = rng.random()
            spec = shelf.specs[int(index)]
            text, mention = caption(spec, rng)
            said = labels_of(spec, mention)
            if (lot := lot - _ZEROS_SHARE) < 0:
                is_zeroed[row] = True
            elif (lot := lot - _EMPTY_SHARE) < 0:
                text, said = "", UNSAID
            elif (lot := lot - _NEGATIVE_SHARE) < 0:
                text, said = degraded_caption(rng), UNSAID
            elif lot < _DEGRADED_SHARE and shelf is self._shelves[0]:
                text, said = degraded_caption(rng), UNSAID
                latents[row] = self._degraded[int(rng.integers(len(self._degraded)))]
            texts.append(text)
            labels.append(said)
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


def shrink_at(step: int, plan: DiffusionRecipe, rng: np.random.Generator) -> int:
    """By how much a step shrinks its scenes: a lot at first, not at all later on except now and then."""
    if step < plan.quarter_steps:
        return 4
    if step < plan.quarter_steps + plan.half_steps or rng.random() < _SMALL_SHARE:
        return 2
    return 1


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
    count, channels = batch.latents.shape[:2]
    noise = torch.randn(batch.latents.shape, generator=generator)
    noise = noise + plan.offset_noise * torch.randn((count, channels, 1, 1), generator=generator)
    # One timestep in each of N equal slices: the same average as independent draws, with far less variance.
    slices = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    steps = (slices[torch.randperm(count, generator=generator)] * len(alphas)).long().clamp_(max=len(alphas) - 1)
    alpha = alphas[steps][:, None, None, None]
    noisy = alpha.sqrt() * batch.latents + (1.0 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1.0 - alpha).sqrt() * batch.latents
    ratio = alphas[steps] / (1.0 - alphas[steps])
    # An error of the velocity is an error of the picture divided by the noise's share, whose square is 1 / (1 + ratio).
    return NoisyBatch(batch, noisy, velocity, steps, ratio.clamp(plan.snr_floor, plan.min_snr) / (1.0 + ratio))


def part_size(latents: Tensor, workers: int) -> int:
    """How many rows of a batch one core takes at a time: its share, or sixteen native pictures if that is more."""
    return max(1, min(-(-len(latents) // workers), _PART_LATENT_PIXELS // (latents.shape[2] * latents.shape[3])))


def diffusion_loss(networks: Networks, noised: NoisyBatch, rows: slice, machine: Machine) -> Tensor:
    """The clipped-SNR weighted error of the predicted velocity for some rows of a batch, and the probe's error."""
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
    probed = attribute_loss(networks.probe, embeddings, noised.batch.labels[rows].to(device))
    return (noised.weight[rows].to(device) * error).mean() + _PROBE_WEIGHT * probed


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
    maker = BatchMaker(recipe, folder, tokenizer)
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
            count = len(noised.steps)
            parts = part_slices(count, count if machine.workers == 1 else part_size(noised.noisy, machine.workers))

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
