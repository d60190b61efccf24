"""Images from images are those of StableDiffusionXLImg2ImgPipeline and InpaintPipeline, bit for bit, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline

from latentcast_worker.inputs import InputImages
from latentcast_worker.model.schedulers import make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import SCHEDULER_NAMES, GenerationParams, SchedulerName

from .reference import SIZE, Bytes, a_box, a_picture, assert_makes_the_pipelines_image, by_image_pipeline
from .requests import a_params

Mode = Literal["image", "mask"]


@pytest.fixture(scope="module")
def pipelines(pipeline: Any) -> dict[Mode, Any]:
    """diffusers' two pipelines around the parts of the plain one."""
    made: dict[Mode, Any] = {}
    kinds: list[tuple[Mode, Any]] = [
        ("image", StableDiffusionXLImg2ImgPipeline),
        ("mask", StableDiffusionXLInpaintPipeline),
    ]
    for mode, kind in kinds:
        made[mode] = kind(**pipeline.components, add_watermarker=False)
        made[mode].set_progress_bar_config(disable=True)
    return made


def assert_same(
    pipelines: dict[Mode, Any], own_scheduler: Any, model: SdxlModel, params: GenerationParams, inputs: InputImages
) -> None:
    pipe = pipelines["image" if inputs.mask is None else "mask"]
    assert_makes_the_pipelines_image(pipe, make_scheduler(own_scheduler, params.scheduler), model, params, inputs)


@pytest.mark.parametrize("mode", ["image", "mask"])
@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
@pytest.mark.parametrize("strength", [0.3, 0.58, 0.95, 1.0])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_the_image_is_the_pipelines(
    pipeline: Any,
    pipelines: dict[Mode, Any],
    tiny_model: SdxlModel,
    mode: Mode,
    scheduler: SchedulerName | None,
    strength: float,
    guidance_scale: float,
) -> None:
    width, height = SIZE
    params = a_params(
        scheduler=scheduler,
        strength=strength,
        guidance_scale=guidance_scale,
        num_inference_steps=7,
        width=width,
        height=height,
    )
    inputs = InputImages(a_picture(), a_box() if mode == "mask" else None)
    assert_same(pipelines, pipeline.own_scheduler, tiny_model, params, inputs)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.full((72, 104), 255, np.uint8), id="all"),
        pytest.param(np.zeros((72, 104), np.uint8), id="none"),
        pytest.param(np.pad(np.full((1, 1), 255, np.uint8), ((1, 70), (1, 102))), id="a pixel that vanishes"),
        pytest.param(np.tile(np.array([127, 128], np.uint8), (72, 52)), id="about grey"),
    ],
)
@pytest.mark.parametrize("scheduler", ["euler_a", "dpmpp_2m_karras"])
def test_masks_are_read_like_the_pipelines(
    pipeline: Any, pipelines: dict[Mode, Any], tiny_model: SdxlModel, mask: Bytes, scheduler: SchedulerName
) -> None:
    params = a_params(scheduler=scheduler, strength=0.75, width=104, height=72)
    assert_same(pipelines, pipeline.own_scheduler, tiny_model, params, InputImages(a_picture(), mask))


@pytest.mark.parametrize("mode", ["image", "mask"])
@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
@pytest.mark.parametrize("strength", [0.58, 1.0])
def test_velocity_models_start_from_images_like_the_pipeline(
    pipeline: Any,
    pipelines: dict[Mode, Any],
    tiny_model: SdxlModel,
    mode: Mode,
    scheduler: SchedulerName,
    strength: float,
) -> None:
    own = pipeline.own_scheduler
    velocity = type(own).from_config(
        own.config, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    params = a_params(scheduler=scheduler, strength=strength, num_inference_steps=5, width=104, height=72)
    inputs = InputImages(a_picture(), a_box() if mode == "mask" else None)
    assert_same(pipelines, velocity, replace(tiny_model, scheduler=velocity), params, inputs)


@pytest.mark.parametrize("mode", ["image", "mask"])
def test_each_of_several_images_is_the_pipelines_for_its_own_seed(
    pipeline: Any, pipelines: dict[Mode, Any], tiny_model: SdxlModel, mode: Mode
) -> None:
    inputs = InputImages(a_picture(), a_box() if mode == "mask" else None)
    params = a_params(strength=0.75, width=104, height=72)
    second = tiny_model.prepare(replace(params, num_images=2), tiny_model.encode(inputs))[1]
    while second.steps_done < second.total_steps:
        tiny_model.step([second])
    scheduler = make_scheduler(pipeline.own_scheduler, None)
    expected, _ = by_image_pipeline(pipelines[mode], replace(params, seed=params.seed + 1), scheduler, inputs)
    assert torch.equal(second.latents, expected)
