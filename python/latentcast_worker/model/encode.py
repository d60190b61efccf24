"""Pixels to latents: the model's VAE for the image that a job starts from, and what a mask means for latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inputs import InputImages
from .paste import Paste
from .port import NumericalError

# Of 255: where a mask counts as white, as the pipeline's rounding has it.
WHITE = 128


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """`mean` and `std` (1, 4, height / 8, width / 8) of the latents in fp32; `mask` (1, 1, ...) 1 where they change."""

    mean: Tensor
    std: Tensor
    scaling: float
    shift: Tensor | None
    """The mean of the model's latents, for the few models that have one."""
    mask: Tensor | None
    paste: Paste | None

    def draw(self, generator: torch.Generator) -> Tensor:
        """Clean latents of the image, one draw from what the VAE says they may be."""
        # The pipeline's expression, in fp32 on any device: a seed means the same everywhere.
        noise = torch.randn(self.mean.shape, generator=generator, dtype=torch.float32).to(self.mean.device)
        sample = self.mean + self.std * noise
        return self.scaling * sample if self.shift is None else (sample - self.shift) * self.scaling


class ImageEncoder:
    """The model's VAE. In bf16 or fp32: SDXL's overflows in fp16. `factor` is pixels per latent along each side."""

    def __init__(self, vae: Any, factor: int, device: torch.device) -> None:
        self._vae = vae
        self._factor = factor
        self._device = device
        config = vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        self._shift: Tensor | None = None
        self._scaling: Any = config.scaling_factor
        if mean is not None and std is not None:
            self._shift, deviation = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
            self._scaling = config.scaling_factor / deviation

    def encode(self, inputs: InputImages) -> EncodedImage:
        """Encodes once for all images of a job. Raises NumericalError."""
        assert inputs.image is not None
        posterior = self._vae.encode(self._to_model(inputs.image)).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise NumericalError("the encoded image became NaN or infinite")
        if inputs.mask is None:
            return EncodedImage(mean, std, self._scaling, self._shift, None, None)
        changes = torch.from_numpy(inputs.mask >= WHITE)
        # Nearest, which is the upper left pixel of each block: what the pipeline's interpolation does.
        small = changes[:: self._factor, :: self._factor].to(self._device, torch.float32)
        paste = Paste(torch.from_numpy(inputs.image), changes)
        return EncodedImage(mean, std, self._scaling, self._shift, small[None, None], paste)

    def _to_model(self, pixels: NDArray[Any]) -> Tensor:
        """(1, 3, height, width) in -1..1, with the strides of a transposed array, which is how the pipeline encodes."""
        scaled = pixels[None].astype("float32") / 255.0
        image = torch.from_numpy(scaled.transpose(0, 3, 1, 2))
        return (2.0 * image - 1.0).to(self._device, self._vae.dtype)
