"""Where a job that starts from an image begins, and how inpainting keeps to it: diffusers' arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .encode import EncodedImage
from .schedulers import SchedulerRun


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


def latents_from_image(run: SchedulerRun, encoded: EncodedImage, strength: float) -> tuple[Tensor, Inpainting | None]:
    """The latents before the first step. Draws from the run's generator in the pipelines' order."""
    clean = encoded.draw(run.generator)
    noise = torch.randn(clean.shape, generator=run.generator, dtype=torch.float32).to(clean.device)
    if encoded.mask is None:
        return run.add_noise(clean, noise, 0), None
    # The inpainting pipeline's latents are contiguous, those of the other one as the VAE lays them out.
    clean = clean.contiguous()
    is_fresh = strength == 1.0
    latents = noise * run.init_noise_sigma if is_fresh else run.add_noise(clean, noise, 0)
    # The pipeline draws for the masked image too: four channels do not use that, but what schedulers draw comes after.
    torch.randn(clean.shape, generator=run.generator, dtype=torch.float32)
    return latents, Inpainting(clean, noise, encoded.mask)
