"""Samples and the denoising step: StableDiffusionXLPipeline's arithmetic, for any mix of samples of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..policy import Shape
from .deepcache import DeepCache
from .image_start import Inpainting
from .lora.layers import AdaptedRows, Addition
from .memory import memory_guard
from .paste import Paste
from .prompts import TextEmbedding
from .schedulers import SchedulerRun
from .unet_call import UNetCall, UNetInputs


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told, fixed for all steps. Rows: (negative, positive) with guidance, (positive) without."""

    tokens: Tensor
    pooled: Tensor
    time_ids: Tensor
    guidance_scale: float
    embedded_guidance: Tensor | None = None
    """For UNets with guidance inside: the embedded scale, (1, time_cond_proj_dim). Such a UNet has no second row."""

    @property
    def is_guided(self) -> bool:
        return self.tokens.shape[0] == 2

    @property
    def positive(self) -> Conditioning:
        """The same without guidance."""
        return replace(self, tokens=self.tokens[-1:], pooled=self.pooled[-1:], time_ids=self.time_ids[-1:])


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


def embed_guidance(scale: float, width: int) -> Tensor:
    """The sinusoidal embedding of a guidance scale, (1, width), as StableDiffusionXLPipeline computes it."""
    half = width // 2
    step = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -step)
    angles = (torch.tensor([scale - 1]) * 1000.0)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(embedding, (0, width % 2))


@dataclass(slots=True)
class SdxlSample:
    """One image in the making. `latents` (1, 4, height / 8, width / 8) stay in fp32, whatever the UNet runs in."""

    conditioning: Conditioning
    run: SchedulerRun
    latents: Tensor
    timesteps: Tensor
    """On the device, so that no step has to send its timestep there."""
    guided_steps: int
    """From this step on guidance is left out, where there is any."""
    steps_done: int = 0
    x0: Tensor | None = None
    deep: Tensor | None = None
    """Features for the next step, which then runs only the outermost layers; see DeepCache."""
    inpainting: Inpainting | None = None
    """Until the last step is done."""
    beside: Tensor | None = None
    """For UNets for inpainting: (1, 5, height / 8, width / 8), their further input channels. Until the last step."""
    paste: Paste | None = None
    loras: Sequence[Addition] = ()
    """What is added to the UNet's layers; one and the same object for all images of a job."""

    @property
    def conditioning_now(self) -> Conditioning:
        return self.conditioning if self.steps_done < self.guided_steps else self.conditioning.positive

    @property
    def total_steps(self) -> int:
        return len(self.timesteps)

    @property
    def shape(self) -> Shape:
        """Latent height and width, and the tokens of the prompt: of unequal length they cannot be stacked."""
        return self.latents.shape[2], self.latents.shape[3], self.conditioning.tokens.shape[1]


def first_latents(run: SchedulerRun, shape: tuple[int, int], channels: int, device: torch.device) -> Tensor:
    """The first noise, drawn on the CPU in fp32 at the image's own shape: the same everywhere and in any company."""
    noise = torch.randn((1, channels, *shape), generator=run.generator, dtype=torch.float32)
    return noise.to(device) * run.init_noise_sigma


def denoise_step(
    samples: Sequence[SdxlSample], unet: UNetCall, dtype: torch.dtype, cache: DeepCache | None = None
) -> None:
    """Advances every sample by one step with a single UNet call; with a `cache`, one more for those that have features.

    Raises DeviceOutOfMemoryError before any has moved.
    """
    with memory_guard():
        if cache is None:
            call = _Call.gather(samples, dtype)
            predictions = [_Prediction(noise) for noise in call.guided(unet(*call.inputs, **call.options))]
        else:
            predictions = _predict_cached(samples, dtype, cache)
    for sample, prediction in zip(samples, predictions, strict=True):
        sample.latents, sample.x0 = sample.run.advance(prediction.noise, sample.latents, sample.steps_done)
        sample.deep = prediction.deep
        sample.steps_done += 1
        if sample.inpainting is not None:
            sample.latents = sample.inpainting.blend(sample.latents, sample.run, sample.steps_done)
        if sample.steps_done == sample.total_steps:
            sample.inpainting = sample.beside = None


@dataclass(frozen=True, slots=True)
class _Prediction:
    """Guided noise in fp32, and the features that the next step may start from."""

    noise: Tensor
    deep: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """What the UNet is given for some samples. `rows` says how many of its rows belong to each of them."""

    inputs: UNetInputs
    conditionings: Sequence[Conditioning]
    rows: list[int]
    adapted: Sequence[AdaptedRows]

    @classmethod
    def gather(cls, samples: Sequence[SdxlSample], dtype: torch.dtype) -> _Call:
        conditionings = [sample.conditioning_now for sample in samples]
        rows = [conditioning.tokens.shape[0] for conditioning in conditionings]
        latents: list[Tensor] = []
        timesteps: list[Tensor] = []
        for sample, count in zip(samples, rows, strict=True):
            # Repeated, not expanded: rows without a stride of their own lose the memory layout, and so the last bits.
            latents.extend([_model_input(sample)] * count)
            timesteps.append(sample.timesteps[sample.steps_done].expand(count))
        inputs = (
            torch.cat(latents).to(dtype),
            torch.cat(timesteps),
            _rows([conditioning.tokens for conditioning in conditionings]),
            _rows([conditioning.pooled for conditioning in conditionings]),
            _rows([conditioning.time_ids for conditioning in conditionings]),
            *_embedded_guidance(conditionings, dtype),
        )
        return cls(inputs, conditionings, rows, _adapted_rows(samples, rows))

    @property
    def options(self) -> dict[str, Sequence[AdaptedRows]]:
        return {"adapted": self.adapted} if self.adapted else {}

    def guided(self, noise: Tensor) -> list[Tensor]:
        """The prediction for each sample, from what the UNet gave for all rows."""
        parts = zip(noise.split(self.rows), self.conditionings, strict=True)
        return [_guide(part.float(), conditioning) for part, conditioning in parts]


def _model_input(sample: SdxlSample) -> Tensor:
    latents = sample.run.model_input(sample.latents, sample.steps_done)
    return latents if sample.beside is None else torch.cat([latents, sample.beside], dim=1)


def _predict_cached(samples: Sequence[SdxlSample], dtype: torch.dtype, cache: DeepCache) -> list[_Prediction]:
    """Samples without features go through the whole UNet and get some; the others use theirs up."""
    of_fresh: list[_Prediction] = []
    if fresh := [sample for sample in samples if sample.deep is None]:
        call = _Call.gather(fresh, dtype)
        noise, deep = cache.whole(call.inputs, call.adapted)
        of_fresh = [_Prediction(*parts) for parts in zip(call.guided(noise), deep.split(call.rows), strict=True)]
    of_known: list[_Prediction] = []
    if known := [(sample, sample.deep) for sample in samples if sample.deep is not None]:
        call = _Call.gather([sample for sample, _ in known], dtype)
        # Where guidance has just ended, only the positive row goes on.
        deep = _rows([deep[-count:] for (_, deep), count in zip(known, call.rows, strict=True)])
        of_known = [_Prediction(noise) for noise in call.guided(cache.outer(call.inputs, deep, call.adapted))]
    from_fresh, from_known = iter(of_fresh), iter(of_known)
    return [next(from_fresh if sample.deep is None else from_known) for sample in samples]


def _guide(noise: Tensor, conditioning: Conditioning) -> Tensor:
    if not conditioning.is_guided:
        return noise
    negative, positive = noise.chunk(2)
    return negative + conditioning.guidance_scale * (positive - negative)


def _adapted_rows(samples: Sequence[SdxlSample], rows: Sequence[int]) -> list[AdaptedRows]:
    """The rows that have LoRAs; neighbours of one job together."""
    adapted: list[AdaptedRows] = []
    stop = 0
    for sample, count in zip(samples, rows, strict=True):
        start, stop = stop, stop + count
        if not sample.loras:
            continue
        last = adapted[-1] if adapted else None
        if last is not None and last.stop == start and last.additions is sample.loras:
            adapted[-1] = replace(last, stop=stop)
        else:
            adapted.append(AdaptedRows(start, stop, sample.loras))
    return adapted


def _embedded_guidance(conditionings: Sequence[Conditioning], dtype: torch.dtype) -> list[Tensor]:
    rows = [each.embedded_guidance for each in conditionings if each.embedded_guidance is not None]
    return [_rows(rows).to(dtype)] if rows else []


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
