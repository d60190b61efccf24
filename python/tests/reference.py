"""One picture by diffusers' pipeline and by the model behind the engine, to be held against each other."""

from __future__ import annotations

from typing import Any

import torch

from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Generate


def by_pipeline(pipeline: Any, request: Generate, scheduler: Any, **options: object) -> Any:
    """The pipeline's `images` for a request, with `options` handed through."""
    pipeline.scheduler = scheduler
    return pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.num_inference_steps,
        width=request.width,
        height=request.height,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        **options,
    ).images


def denoised(model: SdxlModel, request: Generate) -> SdxlSample:
    """A request of one picture after its last step."""
    (sample,) = model.prepare(request)
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    return sample
