"""SDXL behind the engine's port: parts that `load` has put on a device, and how they work together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..inputs import InputImages, executed_steps
from ..policy import CallCosts
from ..protocol import Capabilities, DeviceInfo, GenerationParams, ModelInfo, PreviewPlan
from ..seeds import image_seed
from .acceleration import AcceleratedUNet
from .decode import FullDecoder, InlinePreviews, StreamPreviews
from .deepcache import DeepCache
from .denoise import SdxlSample, denoise_step, embed_guidance, first_latents, make_conditioning
from .devices import Device
from .distillation import PLAIN, Sampling, few_step_options, timesteps_of
from .encode import ImageEncoder
from .image_start import EncodedBeside, EncodedImage, EncodedInpainting
from .lora.store import JobLoras, LoraStore
from .memory import memory_guard
from .paste import Paste
from .port import Encoded, Fetched, InvalidRequestError, PendingPreview, Pixels
from .prompts import PromptEncoder, TextEmbedding
from .schedulers import SchedulerRun, make_scheduler, max_steps
from .shared_cores import SharedCores
from .shortcuts import Shortcuts, guided_steps


@dataclass(slots=True)
class SdxlModel:
    """`size_factor` is pixels per latent along each side; `dtype` is the UNet's."""

    info: ModelInfo
    device: DeviceInfo
    capabilities: Capabilities
    costs: CallCosts
    prompts: PromptEncoder
    unet: AcceleratedUNet
    dtype: torch.dtype
    latent_channels: int
    size_factor: int
    scheduler: Any
    encoder: ImageEncoder
    decoder: FullDecoder
    previews: InlinePreviews | StreamPreviews
    runs_on: Device
    shortcuts: Shortcuts = frozenset()
    deepcache: DeepCache | None = None
    sampling: Sampling = PLAIN
    guidance_width: int | None = None
    """`time_cond_proj_dim` of a UNet with guidance inside."""
    loras: LoraStore | None = None
    cores: SharedCores | None = None

    @property
    def torch_device(self) -> torch.device:
        return self.runs_on.tensors

    def check(self, params: GenerationParams) -> None:
        low, high = self.info.min_side, self.info.max_side
        for name, side in (("width", params.width), ("height", params.height)):
            if not low <= side <= high:
                raise InvalidRequestError(f"{name} {side} is outside {low}..{high} of this model")
            if side % self.size_factor != 0:
                raise InvalidRequestError(f"{name} {side} is not a multiple of {self.size_factor}")
        if params.clip_skip is not None and params.clip_skip > self.prompts.max_clip_skip:
            raise InvalidRequestError(
                f"clip_skip {params.clip_skip} is above {self.prompts.max_clip_skip} of this model"
            )
        most = max_steps(make_scheduler(self.scheduler, params.scheduler))
        if most is not None and params.num_inference_steps > most:
            raise InvalidRequestError(
                f"num_inference_steps {params.num_inference_steps} is more than the {most} of this scheduler"
            )
        if params.loras and self.loras is None:
            raise InvalidRequestError("this server has no LoRAs: it was started without --lora-dir", field="loras")

    def warnings(self, params: GenerationParams) -> Sequence[str]:
        texts = [("prompt", params.prompt)]
        if self._is_guided(params):
            texts.append(("negative_prompt", params.negative_prompt))
        found = [self.prompts.warning(name, text, params.prompt_syntax) for name, text in texts]
        return [warning for warning in found if warning is not None]

    def fetch(self, params: GenerationParams, progress: Callable[[], None]) -> Future[JobLoras] | None:
        return self.loras.fetch(params.loras, progress) if self.loras is not None and params.loras else None

    @torch.inference_mode()
    def encode(self, inputs: InputImages) -> Encoded:
        with memory_guard():
            return self.encoder.encode(inputs)

    @torch.inference_mode()
    def prepare(
        self, params: GenerationParams, encoded: Encoded | None = None, fetched: Fetched | None = None
    ) -> Sequence[SdxlSample]:
        loras = fetched if isinstance(fetched, JobLoras) else None
        skipped = params.num_inference_steps - executed_steps(params)
        with memory_guard():
            positive, negative = self._encode_prompts(params, loras)
            size = (params.height, params.width)
            given = isinstance(encoded, EncodedImage | EncodedInpainting | EncodedBeside)
            image = encoded if given else self.encoder.encode_nothing(size)
            conditioning = make_conditioning(positive, negative, size, params.guidance_scale)
            if self.guidance_width is not None:
                embedded = embed_guidance(params.guidance_scale, self.guidance_width).to(self.torch_device)
                conditioning = replace(conditioning, embedded_guidance=embedded)
            shape = (params.height // self.size_factor, params.width // self.size_factor)
            additions = () if loras is None else loras.additions("unet")
            samples: list[SdxlSample] = []
            for index in range(params.num_images):
                generator = torch.Generator().manual_seed(image_seed(params.seed, index))
                scheduler = self._scheduler_for(params)
                timesteps = self._trained_timesteps(params)
                run = SchedulerRun.start(scheduler, params.num_inference_steps, generator, timesteps, skipped)
                on_device = run.timesteps.to(self.torch_device)
                guided = guided_steps(len(on_device), self.shortcuts)
                if image is None:
                    latents = first_latents(run, shape, self.latent_channels, self.torch_device)
                    samples.append(SdxlSample(conditioning, run, latents, on_device, guided, loras=additions))
                else:
                    start = image.start(run, params.strength or 1.0)
                    sample = SdxlSample(conditioning, run, start.latents, on_device, guided, loras=additions)
                    sample.inpainting, sample.beside, sample.paste = start.inpainting, start.beside, image.paste
                    samples.append(sample)
            return samples

    def _is_guided(self, params: GenerationParams) -> bool:
        """The pipeline's rule: a scale of 1 or less is no guidance, and the negative prompt is not read."""
        return params.guidance_scale > 1 and self.guidance_width is None

    def _encode_prompts(
        self, params: GenerationParams, loras: JobLoras | None
    ) -> tuple[TextEmbedding, TextEmbedding | None]:
        """Both prompts, equally long; the negative one is None without guidance."""
        syntax = params.prompt_syntax
        positive = self.prompts.encode(params.prompt, params.clip_skip, syntax, loras=loras)
        if not self._is_guided(params):
            return positive, None
        negative = self.prompts.encode(params.negative_prompt, None, syntax, chunks=positive.chunks, loras=loras)
        longer = self.prompts.encode(params.prompt, params.clip_skip, syntax, chunks=negative.chunks, loras=loras)
        return longer, negative

    def _scheduler_for(self, params: GenerationParams) -> Any:
        """A fresh one. A LoRA for few steps brings the spacing of its timesteps."""
        scheduler = make_scheduler(self.scheduler, params.scheduler)
        if params.distillation is None:
            return scheduler
        options = few_step_options(params.distillation)
        return type(scheduler).from_config(scheduler.config, **options)

    def _trained_timesteps(self, params: GenerationParams) -> list[int] | None:
        if params.distillation is not None:
            return timesteps_of(params.distillation, params.num_inference_steps)
        if params.scheduler not in (None, self.sampling.scheduler):
            return None
        return self.sampling.timesteps(params.num_inference_steps)

    @torch.inference_mode()
    def step(self, samples: Sequence[SdxlSample]) -> None:
        step = partial(denoise_step, samples, self.unet, self.dtype, self.deepcache)
        if self.cores is None:
            step()
        else:
            self.cores.watch(step)
        # One wait per step keeps the host's decisions and the device's work together: cancelling takes one step.
        self.runs_on.wait()

    @torch.inference_mode()
    def start_preview(self, samples: Sequence[SdxlSample], plan: PreviewPlan) -> PendingPreview:
        with memory_guard():
            latents = torch.cat([_preview_latents(sample, plan) for sample in samples])
        pending = self.previews.start(latents, plan)
        pastes = [sample.paste for sample in samples if sample.paste is not None]
        # The noisy state is shown as it is. A job's samples all have the same mask, or none.
        return PastedPreview(pending, pastes) if pastes and plan.source == "x0" else pending

    @torch.inference_mode()
    def decode(self, sample: SdxlSample) -> Pixels:
        with memory_guard():
            pixels = self.decoder.decode(sample.latents)
        return pixels if sample.paste is None else sample.paste.over(pixels)

    def release_memory(self) -> None:
        self.unet.release_memory()
        if self.loras is not None:
            self.loras.forget_unused()
        self.runs_on.release_memory()

    def device_memory_bytes(self) -> int:
        return self.runs_on.used_bytes()

    def close(self) -> None:
        if self.loras is not None:
            self.loras.close()
        if self.cores is not None:
            self.cores.close()


@dataclass(frozen=True, slots=True)
class PastedPreview:
    """A preview of inpainting: the surroundings are the original's, as in the result."""

    pending: PendingPreview
    pastes: Sequence[Paste]

    def wait(self) -> Sequence[Pixels]:
        return [paste.over(pixels) for paste, pixels in zip(self.pastes, self.pending.wait(), strict=True)]


def _preview_latents(sample: SdxlSample, plan: PreviewPlan) -> Tensor:
    if plan.source == "x0" and sample.x0 is not None:
        return sample.x0
    return sample.run.visible(sample.latents)
