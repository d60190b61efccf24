"""Latents to pixels: the full VAE for the final image, a tiny VAE or a linear map for previews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..protocol import PreviewDecoder, PreviewPlan
from .acceleration_graphs import Graphs
from .memory import memory_guard
from .port import NumericalError, PendingPreview, Pixels
from .settings import LatentRgb

NOT_FINITE = "the image became NaN or infinite"


def to_rgb8(images: Tensor) -> Tensor:
    """(n, 3, height, width) in -1..1 to (n, height, width, 3) uint8, rounded as the pipeline rounds: half to even."""
    levels = (images.float() * 0.5 + 0.5).clamp(0, 1) * 255
    return levels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class FullDecoder:
    """The model's VAE. In bf16 or fp32: SDXL's overflows in fp16."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        config = vae.config
        self._scaling = float(config.scaling_factor)
        self._mean = getattr(config, "latents_mean", None)
        self._std = getattr(config, "latents_std", None)

    def decode(self, latents: Tensor) -> Pixels:
        """One image from latents (1, 4, h, w). Raises NumericalError."""
        image: Tensor = self._vae.decode(self._unscale(latents).to(self._vae.dtype), return_dict=False)[0]
        pixels = to_rgb8(image)[0].cpu()
        if not bool(torch.isfinite(image).all()):
            raise NumericalError(NOT_FINITE)
        return pixels.numpy()

    def _unscale(self, latents: Tensor) -> Tensor:
        if self._mean is None or self._std is None:
            return latents / self._scaling
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(latents) for values in (self._mean, self._std))
        return latents * std / self._scaling + mean


class PreviewRenderer:
    """Latents to small RGB8 images with either preview decoder. `tiny` None leaves only the linear map."""

    def __init__(self, tiny: Any | None, latent_rgb: LatentRgb, device: torch.device) -> None:
        self._tiny = tiny
        self._weights = torch.tensor(latent_rgb.weights, device=device)
        self._bias = torch.tensor(latent_rgb.bias, device=device).view(1, 3, 1, 1)

    @property
    def decoders(self) -> tuple[PreviewDecoder, ...]:
        return ("linear",) if self._tiny is None else ("tae", "linear")

    def render(self, latents: Tensor, plan: PreviewPlan) -> tuple[Tensor, Tensor]:
        """Images (n, height, width, 3) uint8 and one flag, whether all latents were finite; both still on the device.

        `tae` gives images of full size, `linear` one pixel per latent; both are scaled down to `max_side` with their
        aspect kept.
        """
        images = self._decode(latents, plan.decoder)
        return to_rgb8(_fit(images, plan.max_side)), torch.isfinite(latents).all()

    def _decode(self, latents: Tensor, decoder: PreviewDecoder) -> Tensor:
        if decoder == "linear" or self._tiny is None:
            return torch.einsum("nchw,cr->nrhw", latents, self._weights) + self._bias
        scaled = latents / self._tiny.config.scaling_factor
        images: Tensor = self._tiny.decode(scaled.to(self._tiny.dtype), return_dict=False)[0]
        return images.float()


def _fit(images: Tensor, max_side: int | None) -> Tensor:
    height, width = images.shape[2:]
    if max_side is None or max(height, width) <= max_side:
        return images
    scale = max_side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)


@dataclass(frozen=True, slots=True)
class FinishedPreview:
    """A preview that is on the host already."""

    pixels: Tensor
    finite: Tensor

    def wait(self) -> Sequence[Pixels]:
        if not bool(self.finite):
            raise NumericalError(NOT_FINITE)
        return list(self.pixels.numpy())


@dataclass(frozen=True, slots=True)
class CudaPreview:
    """A preview on its way from the device: `done` fires once the pinned buffers are filled."""

    latents: Tensor  # Kept until then: the allocator may not hand this memory to the denoising stream before.
    pixels: Tensor
    finite: Tensor
    done: torch.cuda.Event

    def wait(self) -> Sequence[Pixels]:
        self.done.synchronize()
        return FinishedPreview(self.pixels, self.finite).wait()


class InlinePreviews:
    """Previews between two steps. On a CPU, steps use all its cores already: a thread beside them would slow both."""

    def __init__(self, renderer: PreviewRenderer) -> None:
        self._renderer = renderer

    def start(self, latents: Tensor, plan: PreviewPlan) -> PendingPreview:
        with memory_guard():
            return FinishedPreview(*(tensor.cpu() for tensor in self._renderer.render(latents, plan)))


class StreamPreviews:
    """Previews on a CUDA stream of lower priority than the denoising stream, fetched through pinned memory.

    torch keeps freed pinned blocks for reuse and knows which copies still use them, so after the first few previews no
    block is new. A preview is some hundred short kernels, and launching them one by one holds up the next step: a size
    that comes back is launched as a graph. Previews of several images are rare and large, and a graph keeps its memory.
    """

    def __init__(self, renderer: PreviewRenderer, device: torch.device) -> None:
        self._renderer = renderer
        self._stream = torch.cuda.Stream(device, priority=0)
        self._graphs = Graphs(self._stream)

    def start(self, latents: Tensor, plan: PreviewPlan) -> PendingPreview:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), memory_guard():
            pixels, finite = (self._to_pinned(tensor) for tensor in self._render(latents, plan))
            done = torch.cuda.Event(blocking=True)
            done.record()
        return CudaPreview(latents, pixels, finite, done)

    def _render(self, latents: Tensor, plan: PreviewPlan) -> tuple[Tensor, ...]:
        def render(given: Tensor) -> tuple[Tensor, ...]:
            return self._renderer.render(given, plan)

        if latents.shape[0] > 1:
            return render(latents)
        return self._graphs.run((tuple(latents.shape), plan.decoder, plan.max_side), render, (latents,))

    def _to_pinned(self, tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
