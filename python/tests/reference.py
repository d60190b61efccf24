"""One image by diffusers' pipeline and by the model behind the engine, to be held against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers import TCDScheduler
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latentcast_worker.inputs import InputImages
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.schedulers import TCD_ETA
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import GenerationParams

Bytes: TypeAlias = NDArray[np.uint8]

SIZE = (104, 72)
"""Width and height in pixels: odd numbers of latents."""


def a_picture(size: tuple[int, int] = SIZE) -> Bytes:
    width, height = size
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


def a_box(size: tuple[int, int] = SIZE) -> Bytes:
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 3 :] = 255
    return mask


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


def by_image_pipeline(pipe: Any, params: GenerationParams, scheduler: Any, inputs: InputImages) -> tuple[Tensor, Bytes]:
    """The last latents of a pipeline that starts from images, and its image, without anything pasted."""
    last: list[Tensor] = []

    def keep_latents(_pipe: Any, _step: int, _timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last[:] = [values["latents"]]
        return values

    assert inputs.image is not None
    given: dict[str, object] = {"image": Image.fromarray(inputs.image), "strength": params.strength}
    if inputs.mask is not None:
        given["mask_image"] = Image.fromarray(inputs.mask)
    images = by_pipeline(pipe, params, scheduler, callback_on_step_end=keep_latents, **given)
    return last[0], np.asarray(images[0])


def assert_makes_the_pipelines_image(
    pipe: Any,
    scheduler: Any,
    model: SdxlModel,
    params: GenerationParams,
    inputs: InputImages,
    reference: InputImages | None = None,
) -> None:
    """Bit for bit. The pipeline is given `reference` where that is not the same as what the model is given."""
    expected_latents, expected_image = by_image_pipeline(pipe, params, scheduler, reference or inputs)
    encoded = None if inputs.image is None else model.encode(inputs)
    (sample,) = model.prepare(params if encoded is not None else replace(params, strength=None), encoded)
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    assert torch.isfinite(expected_latents).all()
    assert torch.equal(sample.latents, expected_latents)
    with torch.inference_mode():
        # Without the original pasted over it: the pipeline does not do that.
        np.testing.assert_array_equal(model.decoder.decode(sample.latents), expected_image)
