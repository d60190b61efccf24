"""Samples and the denoising step: StableDiffusionXLPipeline's arithmetic, for any mix of samples of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..policy import Shape
from .memory import memory_guard
from .prompts import TextEmbedding
from .schedulers import SchedulerRun

UNetCall: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(latents, timesteps, token embeddings, pooled embeddings, time ids), one row each -> predicted noise."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told, fixed for all steps. Rows: (negative, positive) with guidance, (positive) without."""

    tokens: Tensor
    pooled: Tensor
    time_ids: Tensor
    guidance_scale: float

    @property
    def is_guided(self) -> bool:
        return self.tokens.shape[0] == 2


def make_conditioning(
    positive: TextEmbedding, negative: TextEmbedding | None, size: tuple[int, int], guidance_scale: float
) -> Conditioning:
    """`size` is (height, width) in pixels; `negative` None leaves guidance out."""
    embeddings = [positive] if negative is None else [negative, positive]
    tokens = torch.cat([embedding.tokens for embedding in embeddings])
    pooled = torch.cat([embedding.pooled for embedding in embeddings])
    # Original size, crop corner and target size, SDXL's micro-conditioning.
    time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=tokens.dtype, device=tokens.device)
    return Conditioning(tokens, pooled, time_ids.repeat(len(embeddings), 1), guidance_scale)


@dataclass(slots=True)
class SdxlSample:
    """One picture in the making. `latents` (1, 4, height / 8, width / 8) stay in fp32, whatever the UNet runs in."""

    conditioning: Conditioning
    run: SchedulerRun
    latents: Tensor
    timesteps: Tensor
    """On the device, so that no step has to send its timestep there."""
    steps_done: int = 0
    x0: Tensor | None = None

    @property
    def total_steps(self) -> int:
        return len(self.timesteps)

    @property
    def shape(self) -> Shape:
        return self.latents.shape[2], self.latents.shape[3]


def first_latents(run: SchedulerRun, shape: Shape, channels: int, device: torch.device) -> Tensor:
    """The first noise, drawn on the CPU in fp32 at the picture's own shape: the same everywhere and in any company."""
    noise = torch.randn((1, channels, *shape), generator=run.generator, dtype=torch.float32)
    return noise.to(device) * run.init_noise_sigma


def denoise_step(samples: Sequence[SdxlSample], unet: UNetCall, dtype: torch.dtype) -> None:
    """Advances every sample by one step with a single UNet call. Raises DeviceOutOfMemoryError before any has moved."""
    with memory_guard():
        noises = _predict(samples, unet, dtype)
    for sample, noise in zip(samples, noises, strict=True):
        sample.latents, sample.x0 = sample.run.advance(noise, sample.latents, sample.steps_done)
        sample.steps_done += 1


def _predict(samples: Sequence[SdxlSample], unet: UNetCall, dtype: torch.dtype) -> list[Tensor]:
    """The guided noise prediction of each sample, fp32."""
    rows = [sample.conditioning.tokens.shape[0] for sample in samples]
    inputs: list[Tensor] = []
    timesteps: list[Tensor] = []
    for sample, count in zip(samples, rows, strict=True):
        inputs.append(sample.run.model_input(sample.latents, sample.steps_done).expand(count, -1, -1, -1))
        timesteps.append(sample.timesteps[sample.steps_done].expand(count))
    predicted = unet(
        torch.cat(inputs).to(dtype),
        torch.cat(timesteps),
        _rows([sample.conditioning.tokens for sample in samples]),
        _rows([sample.conditioning.pooled for sample in samples]),
        _rows([sample.conditioning.time_ids for sample in samples]),
    )
    return [
        _guide(noise.float(), sample.conditioning) for sample, noise in zip(samples, predicted.split(rows), strict=True)
    ]


def _guide(noise: Tensor, conditioning: Conditioning) -> Tensor:
    if not conditioning.is_guided:
        return noise
    negative, positive = noise.chunk(2)
    return negative + conditioning.guidance_scale * (positive - negative)


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
