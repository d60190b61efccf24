"""One image by diffusers' pipeline and by the model behind the engine, to be held against each other."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import TCDScheduler

from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.schedulers import TCD_ETA
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import GenerationParams


def by_pipeline(pipeline: Any, params: GenerationParams, scheduler: Any, **options: object) -> Any:
    """The pipeline's `images` for these parameters, with `options` handed through."""
    pipeline.scheduler = scheduler
    if isinstance(scheduler, TCDScheduler):
        options = {"eta": TCD_ETA, **options}
    return pipeline(
        prompt=params.prompt,
        negative_prompt=params.negative_prompt,
        num_inference_steps=params.num_inference_steps,
        width=params.width,
        height=params.height,
        clip_skip=params.clip_skip,
        guidance_scale=params.guidance_scale,
        generator=torch.Generator().manual_seed(params.seed),
        **options,
    ).images


def denoised(model: SdxlModel, params: GenerationParams) -> SdxlSample:
    """The one image of these parameters after its last step."""
    (sample,) = model.prepare(params)
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    return sample
