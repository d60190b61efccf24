"""Train the tiny autoencoder that decodes previews from the full autoencoder's scaled latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from .autoencoder import crop_parts, load_stores, reconstruction_loss, scaled_latents, to_pixels
from .checkpoint import Machine, step_rng
from .config import AutoencoderRecipe, Recipe
from .dataset import load_pictures
from .optimise import optimise
from .warmstart import warm_start_tiny


def build_tiny(recipe: AutoencoderRecipe) -> AutoencoderTiny:
    """An untrained tiny autoencoder for scaled latents."""
    channels = (recipe.tiny_channels,) * len(recipe.tiny_decoder_blocks)
    return AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=(0, 1, 1, 1)[-len(channels) :],
        num_decoder_blocks=recipe.tiny_decoder_blocks,
    )


@torch.no_grad()
def fit_latent_rgb(vae: AutoencoderKL, pictures: np.ndarray) -> dict[str, Any]:
    """Fit the linear map from a scaled latent pixel to the mean colour (-1 to 1) of the 8 x 8 pixels it stands for.

    Args:
        pictures: bytes, N x H x W x 3.

    Returns:
        ``weights`` (4 rows of r, g, b) and ``bias`` (r, g, b).
    """
    pixels = to_pixels(pictures)
    latents = scaled_latents(vae, pixels)
    colours = torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(inputs, colours).solution.tolist()
    rounded = [[round(value, 4) for value in row] for row in solution]
    return {"weights": rounded[:4], "bias": rounded[4]}


def train_tiny(
    recipe: Recipe, folder: Path, machine: Machine, full: AutoencoderKL, until: int | None = None
) -> AutoencoderTiny:
    """Train the tiny autoencoder: its decoder on the full encoder's scaled latents, its encoder towards them."""
    plan = recipe.autoencoder
    torch.manual_seed(recipe.seed + 1)
    model = build_tiny(plan)
    fit = fit_latent_rgb(full.to("cpu").eval(), load_pictures(folder, recipe.buckets[0])[:64])
    warm_start_tiny(model, torch.tensor(fit["weights"]), torch.tensor(fit["bias"]))
    full = full.to(machine.device).eval().requires_grad_(False)
    stores = load_stores(recipe, folder)

    def loss_of(pixels: Tensor, draw: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        target = scaled_latents(full, pixels)
        with machine.autocast():
            # A preview shows unfinished latents: a little noise teaches the decoder to stay calm on them.
            output = model.decode(target + plan.latent_noise * draw).sample
            guess = model.encode(pixels).latents
        return reconstruction_loss(output, pixels) + 0.1 * (guess.float() - target).abs().mean()

    def part_losses_at(step: int) -> list[Callable[[], Tensor]]:
        rng, generator = step_rng(recipe.seed, 2, step)
        return crop_parts(loss_of, stores, plan, rng, generator, machine)

    optimise(
        "tiny autoencoder",
        model,
        part_losses_at,
        folder / "tiny.pt",
        plan.tiny_steps,
        plan.tiny_learning_rate,
        machine,
        until,
    )
    return model.to("cpu").eval()
