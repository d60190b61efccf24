"""Train the decoder and the tiny decoder on from their exported weights; the encoder, and so the latents, stay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ..autoencoder import SCALING_FACTOR, scaled_latents
from ..checkpoint import Machine, step_rng
from ..config import DEMO
from .gradients import LossOf
from .loop import Limit, train_part
from .plan import Pace, RefinePlan

_STAGE: Final = 6
_SPOT_WEIGHT: Final = 4.0
_LUMA: Final = (0.299, 0.587, 0.114)


def spot_weights(pixels: Tensor) -> Tensor:
    """How much an error counts, N x 1 x H x W: five times as much on what is bright among dark surroundings.

    Stars are one pixel in eighty of a night sky. Without it a grey veil is the best answer for the first thousands of
    steps; with it the decoder draws all stars after 450 steps of four crops.
    """
    # Sums of channels: a tensor made of numbers would be copied from the host, which a CUDA graph cannot record.
    brightness = sum(share * pixels[:, index : index + 1] for index, share in enumerate(_LUMA))
    around = avg_pool2d(brightness, 15, stride=1, padding=7, count_include_pad=False)
    return 1.0 + _SPOT_WEIGHT * (2.0 * (brightness - around)).clamp(0.0, 1.0)


def spot_loss(output: Tensor, target: Tensor) -> Tensor:
    """``reconstruction_loss`` with an error that counts by ``spot_weights``."""
    error = (output.float() - target) * spot_weights(target)
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + 0.5 * slopes


class Crops:
    """Square crops of pictures that lie on the device, and their noisy latents."""

    def __init__(self, pictures: Tensor, vae: AutoencoderKL, crop: int, batch: int, seed: int) -> None:
        """Take pictures as bytes, N x H x W x 3, on the device of ``vae``."""
        self._pictures, self._vae, self._crop, self._batch, self._seed = pictures, vae, crop, batch, seed
        self._generator = torch.Generator(pictures.device)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Pixels -1 to 1, batch x 3 x crop x crop, cut on the grid of latent pixels, and scaled latents with noise.

        The noise stands for the errors of a diffusion model; its strength varies, so that clean latents stay sharp.
        """
        numbers, _ = step_rng(self._seed, _STAGE, step)
        generator, device = self._generator.manual_seed(int(numbers.integers(2**63))), self._pictures.device
        count, height, width = self._pictures.shape[:3]

        def lots(most: int) -> Tensor:
            return torch.randint(most, (self._batch, 1, 1), generator=generator, device=device)

        side = torch.arange(self._crop, device=device)
        rows = 8 * lots((height - self._crop) // 8 + 1) + side[None, :, None]
        columns = 8 * lots((width - self._crop) // 8 + 1) + side[None, None, :]
        pixels = self._pictures[lots(count), rows, columns].permute(0, 3, 1, 2).float() / 127.5 - 1.0
        latents = scaled_latents(self._vae, pixels)
        noise = torch.randn(latents.shape, generator=generator, device=device)
        strength = torch.rand((self._batch, 1, 1, 1), generator=generator, device=device)
        return pixels, latents + DEMO.autoencoder.latent_noise * strength * noise


def refine_decoders(
    vae: AutoencoderKL,
    tiny: AutoencoderTiny,
    pictures: NDArray[np.uint8],
    folder: Path,
    plan: RefinePlan,
    seconds: float | None,
    machine: Machine,
) -> None:
    """Train both decoders, in place, from the checkpoints ``decoder.pt`` and ``tiny.pt``, if any.

    Args:
        pictures: bytes, N x H x W x 3.
        seconds: of the whole run, of which each decoder takes its share.
    """
    # Tensor cores want the channels together in memory.
    layout = torch.channels_last if machine.device.type == "cuda" else torch.contiguous_format
    vae.to(machine.device).requires_grad_(False)
    tiny.to(machine.device).requires_grad_(False)
    trained = nn.ModuleList([vae.post_quant_conv, vae.decoder]).to(memory_format=layout).requires_grad_(True)
    tiny.decoder.to(memory_format=layout).requires_grad_(True)
    shown = torch.from_numpy(pictures).to(machine.device)

    def decoder_loss(pixels: Tensor, latents: Tensor) -> Tensor:
        with machine.autocast():
            output = vae.decode(latents / SCALING_FACTOR).sample
        return spot_loss(output, pixels)

    def tiny_loss(pixels: Tensor, latents: Tensor) -> Tensor:
        with machine.autocast():
            output = tiny.decode(latents).sample
        return spot_loss(output, pixels)

    def run(label: str, model: nn.Module, loss_of: LossOf, pace: Pace, path: Path) -> None:
        crops = Crops(shown, vae, plan.crop, pace.batch, DEMO.seed)
        limit = Limit(pace.steps, None if seconds is None else pace.share * seconds)
        average = train_part(label, model, loss_of, crops.draw, pace, limit, path, machine)
        model.load_state_dict(average.state_dict())

    run("decoder", trained, decoder_loss, plan.decoder, folder / "decoder.pt")
    run("tiny decoder", tiny.decoder, tiny_loss, plan.tiny, folder / "tiny.pt")
    for part in (vae, tiny):
        part.to("cpu", memory_format=torch.contiguous_format).requires_grad_(True).eval()
