"""Where a job that starts from an image begins, and how inpainting keeps to it: diffusers' arithmetic.

What is encoded once for a job is one of three: an image, an image and a mask, or what a UNet for inpainting is given.
`start` makes the beginning of one image of the job from it, and draws from the run's generator in the pipelines' order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .paste import Paste
from .schedulers import SchedulerRun


@dataclass(frozen=True, slots=True)
class Moments:
    """What the VAE says of an image's latents: `mean` and `std` (1, 4, height / 8, width / 8) in fp32."""

    mean: Tensor
    std: Tensor
    scaling: float
    shift: Tensor | None
    """The mean of the model's latents, for the few models that have one."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """Clean latents of the image, one draw from what the VAE says they may be."""
        # The pipeline's expression, in fp32 on any device: a seed means the same everywhere.
        sample = self.mean + self.std * self.noise(generator)
        return self.scaling * sample if self.shift is None else (sample - self.shift) * self.scaling

    def noise(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self.mean.shape, generator=generator, dtype=torch.float32)
        return noise.to(self.mean.device)


@dataclass(frozen=True, slots=True)
class Inpainting:
    """What the latents outside of the mask are set back to after every step; all (1, 4 or 1, h, w) in fp32."""

    clean: Tensor
    noise: Tensor
    mask: Tensor

    def blend(self, latents: Tensor, run: SchedulerRun, steps_done: int) -> Tensor:
        """The latents after `steps_done` steps, with the image's own, as noisy as they are, outside of the mask."""
        is_last = steps_done == len(run.timesteps)
        kept = self.clean if is_last else run.add_noise(self.clean, self.noise, steps_done)
        return (1 - self.mask) * kept + self.mask * latents


@dataclass(frozen=True, slots=True)
class Start:
    """The latents before the first step, and what inpainting needs in every step: one of the two, or neither."""

    latents: Tensor
    inpainting: Inpainting | None = None
    beside: Tensor | None = None
    """(1, 5, h, w): what a UNet for inpainting is given with the latents, a mask and four channels."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """StableDiffusionXLImg2ImgPipeline's start."""

    image: Moments
    paste: None = None

    def start(self, run: SchedulerRun, _strength: float) -> Start:
        clean = self.image.draw(run.generator)
        return Start(run.add_noise(clean, self.image.noise(run.generator), 0))


@dataclass(frozen=True, slots=True)
class EncodedInpainting:
    """StableDiffusionXLInpaintPipeline's start with a UNet of four channels. `mask` (1, 1, h, w) is 1 for changes."""

    image: Moments
    mask: Tensor
    paste: Paste

    def start(self, run: SchedulerRun, strength: float) -> Start:
        # The inpainting pipeline's latents are contiguous, those of the other one as the VAE lays them out.
        clean = self.image.draw(run.generator).contiguous()
        noise = self.image.noise(run.generator)
        latents = noise * run.init_noise_sigma if strength == 1.0 else run.add_noise(clean, noise, 0)
        # The pipeline draws for the masked image too: it does not use that, but what schedulers draw comes after.
        self.image.noise(run.generator)
        return Start(latents, Inpainting(clean, noise, self.mask))


@dataclass(frozen=True, slots=True)
class EncodedBeside:
    """The same with a UNet of nine channels, which sees mask and masked image and keeps to them by itself.

    `masked` is the image with grey inside the mask. Without a mask, all is to change: that leaves a grey image whatever
    the image, so such a UNet can start from an image alone, or from none.
    """

    image: Moments | None
    mask: Tensor
    masked: Moments
    paste: Paste | None = None

    def start(self, run: SchedulerRun, strength: float) -> Start:
        clean = None if self.image is None or strength == 1.0 else self.image.draw(run.generator).contiguous()
        noise = self.masked.noise(run.generator)
        latents = noise * run.init_noise_sigma if clean is None else run.add_noise(clean, noise, 0)
        return Start(latents, beside=torch.cat([self.mask, self.masked.draw(run.generator)], dim=1))


JobStart: TypeAlias = EncodedImage | EncodedInpainting | EncodedBeside
