"""Pixels to latents: the model's VAE for the image that a job starts from, and what a mask means for latents."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inputs import InputImages
from .image_start import EncodedBeside, EncodedImage, EncodedInpainting, JobStart, Moments
from .paste import Paste
from .port import NumericalError

# Of 255: where a mask counts as white, as the pipeline's rounding has it.
WHITE = 128

# Sizes whose grey image is remembered, half a megabyte each at 1024 x 1024.
MAX_GREY_SIZES = 16


class ImageEncoder:
    """The model's VAE. In bf16 or fp32: SDXL's overflows in fp16. `factor` is pixels per latent along each side.

    `for_inpainting`: the UNet is given a mask and the masked image in every step, also where a job has none.
    """

    def __init__(self, vae: Any, factor: int, device: torch.device, *, for_inpainting: bool) -> None:
        self._vae = vae
        self._factor = factor
        self._device = device
        self._for_inpainting = for_inpainting
        self._grey: dict[tuple[int, int], Moments] = {}
        config = vae.config
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        self._shift: Tensor | None = None
        self._scaling: Any = config.scaling_factor
        if mean is not None and std is not None:
            self._shift, deviation = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
            self._scaling = config.scaling_factor / deviation

    def encode(self, inputs: InputImages) -> JobStart:
        """Encodes once for all images of a job. Raises NumericalError."""
        assert inputs.image is not None
        image = _to_model(inputs.image)
        moments = self._moments(image)
        if inputs.mask is None:
            height, width, _ = inputs.image.shape
            return self._all_changes(moments, (height, width)) if self._for_inpainting else EncodedImage(moments)
        changes = torch.from_numpy(inputs.mask >= WHITE)
        # Nearest, which is the upper left pixel of each block: what the pipeline's interpolation does.
        mask = changes[:: self._factor, :: self._factor].to(self._device, torch.float32)[None, None]
        paste = Paste(torch.from_numpy(inputs.image), changes)
        if self._for_inpainting:
            return EncodedBeside(moments, mask, self._moments(image * ~changes), paste)
        return EncodedInpainting(moments, mask, paste)

    def encode_nothing(self, size: tuple[int, int]) -> JobStart | None:
        """For a job without images, of (height, width) in pixels: None where noise is all it takes.

        Raises NumericalError.
        """
        return self._all_changes(None, size) if self._for_inpainting else None

    def _all_changes(self, image: Moments | None, size: tuple[int, int]) -> JobStart:
        height, width = size
        if size not in self._grey:
            if len(self._grey) == MAX_GREY_SIZES:
                self._grey.clear()
            self._grey[size] = self._moments(torch.zeros((1, height, width, 3)).permute(0, 3, 1, 2))
        mask = torch.ones((1, 1, height // self._factor, width // self._factor), device=self._device)
        return EncodedBeside(image, mask, self._grey[size])

    def _moments(self, image: Tensor) -> Moments:
        posterior = self._vae.encode(image.to(self._device, self._vae.dtype)).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        if not bool(torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise NumericalError("the encoded image became NaN or infinite")
        return Moments(mean, std, self._scaling, self._shift)


def _to_model(pixels: NDArray[Any]) -> Tensor:
    """(1, 3, height, width) in -1..1, with the strides of a transposed array, which is how the pipeline encodes."""
    scaled = pixels[None].astype("float32") / 255.0
    image = torch.from_numpy(scaled.transpose(0, 3, 1, 2))
    return 2.0 * image - 1.0
