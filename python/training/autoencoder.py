"""The autoencoder (AutoencoderKL): an encoder set by construction, a trained decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from .checkpoint import Machine, step_rng
from .config import AutoencoderRecipe, Recipe
from .dataset import load_pictures
from .optimise import optimise
from .parallel import part_slices
from .warmstart import set_encoder, thumbnails, warm_start_decoder

SCALING_FACTOR: Final = 0.13025
"""SDXL's own factor. Latents are scaled to match it, so code that forgets the factor fails on this model too."""

_SAMPLE: Final = 128
"""Pictures that decide what "unit variance" means."""


def build_autoencoder(recipe: AutoencoderRecipe) -> AutoencoderKL:
    """An untrained autoencoder: 8 x 8 pixels to one latent pixel of 4 channels."""
    stages = len(recipe.channels)
    return AutoencoderKL(
        block_out_channels=recipe.channels,
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=1,
        # Without attention in the middle any picture size works alike.
        mid_block_add_attention=False,
        sample_size=256,
        scaling_factor=SCALING_FACTOR,
        force_upcast=False,
    )


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """Bytes, N x H x W x 3, to floats -1 to 1, N x 3 x H x W."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


@torch.no_grad()
def scaled_latents(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The encoder's scaled latents (N x 4 x H/8 x W/8), computed the short way: thumbnails and one 1 x 1 convolution.

    Differs from ``model.encode`` by rounding only, and is a hundred times faster.
    """
    return latents_of_thumbnails(model, thumbnails(pixels))


@torch.no_grad()
def latents_of_thumbnails(model: AutoencoderKL, small: Tensor) -> Tensor:
    """The scaled latents of what the encoder sees of pictures (N x 4 x H/8 x W/8)."""
    weight, bias = model.quant_conv.weight[:4, :4], model.quant_conv.bias[:4]
    return nn.functional.conv2d(small, weight, bias) * SCALING_FACTOR


def make_autoencoder(recipe: Recipe, folder: Path) -> AutoencoderKL:
    """The autoencoder before training: a finished encoder, and a decoder that enlarges thumbnails.

    Args:
        folder: holds the drawn scenes.
    """
    torch.manual_seed(recipe.seed)
    model = build_autoencoder(recipe.autoencoder).eval()
    pixels = to_pixels(load_pictures(folder, recipe.buckets[0])[:_SAMPLE])
    set_encoder(model, pixels)
    warm_start_decoder(model, pixels[:8])
    return model


def random_crops(stores: list[NDArray[np.uint8]], count: int, crop: int, rng: np.random.Generator) -> Tensor:
    """Square crops of random scenes, ``count`` x 3 x ``crop`` x ``crop``, -1 to 1, cut on the grid of latent pixels."""
    crops = np.empty((count, crop, crop, 3), np.uint8)
    odds = np.array([len(store) for store in stores], np.float64)
    for index in range(count):
        store = stores[int(rng.choice(len(stores), p=odds / odds.sum()))]
        number, height, width = store.shape[:3]
        top, left = 8 * int(rng.integers((height - crop) // 8 + 1)), 8 * int(rng.integers((width - crop) // 8 + 1))
        crops[index] = store[int(rng.integers(number)), top : top + crop, left : left + crop]
    return to_pixels(crops)


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 + MSE, plus L1 of the differences between neighbours, which keeps edges and stars crisp."""
    error = output.float() - target
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + 0.5 * slopes


def crop_parts(
    loss_of: Callable[[Tensor, Tensor], Tensor],
    stores: list[NDArray[np.uint8]],
    plan: AutoencoderRecipe,
    rng: np.random.Generator,
    generator: torch.Generator,
    machine: Machine,
) -> list[Callable[[], Tensor]]:
    """A step's batch of random crops, cut into parts.

    Args:
        loss_of: computes the loss from pixels (n x 3 x crop x crop) and noise shaped like their latents, of a standard
            deviation that differs from crop to crop: 0 to 1.
    """
    pixels = random_crops(stores, plan.batch, plan.crop, rng).to(machine.device)
    draw = torch.randn((plan.batch, 4, plan.crop // 8, plan.crop // 8), generator=generator)
    draw = (draw * torch.rand((plan.batch, 1, 1, 1), generator=generator)).to(machine.device)
    size = plan.batch if machine.workers == 1 else max(1, plan.batch // (2 * machine.workers))
    return [partial(loss_of, pixels[rows], draw[rows]) for rows in part_slices(plan.batch, size)]


def load_stores(recipe: Recipe, folder: Path) -> list[NDArray[np.uint8]]:
    """The pictures to crop from, in memory: every bucket at least as large as a crop."""
    crop = recipe.autoencoder.crop
    fitting = [bucket for bucket in recipe.buckets if min(bucket.height, bucket.width) >= crop]
    return [np.array(load_pictures(folder, bucket)) for bucket in fitting]


def train_decoder(recipe: Recipe, folder: Path, machine: Machine, until: int | None = None) -> AutoencoderKL:
    """Train (or finish training) the decoder on the encoder's latents.

    Noise on the latents stands for the errors of a diffusion model, which the decoder thereby learns to smooth away;
    its strength varies, so that clean latents stay sharp.

    Args:
        folder: holds the drawn scenes and takes the checkpoint ``decoder.pt``.
        until: stop early after this step; for tests of resuming.

    Returns:
        The autoencoder, on the CPU.
    """
    plan = recipe.autoencoder
    model = make_autoencoder(recipe, folder).to(machine.device).requires_grad_(False)
    trained = nn.ModuleList([model.post_quant_conv, model.decoder]).requires_grad_(True)
    stores = load_stores(recipe, folder)

    def loss_of(pixels: Tensor, draw: Tensor) -> Tensor:
        latents = (scaled_latents(model, pixels) + plan.latent_noise * draw) / SCALING_FACTOR
        with machine.autocast():
            output = model.decode(latents.contiguous(memory_format=torch.channels_last)).sample
        return reconstruction_loss(output, pixels)

    def part_losses_at(step: int) -> list[Callable[[], Tensor]]:
        rng, generator = step_rng(recipe.seed, 1, step)
        return crop_parts(loss_of, stores, plan, rng, generator, machine)

    optimise("decoder", trained, part_losses_at, folder / "decoder.pt", plan.steps, plan.learning_rate, machine, until)
    return model.to("cpu").eval().requires_grad_(True)
