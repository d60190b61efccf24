"""A UNet of nine channels, trained for inpainting: StableDiffusionXLInpaintPipeline's images, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLInpaintPipeline

from latentcast_worker.inputs import InputImages
from latentcast_worker.model.schedulers import make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import SCHEDULER_NAMES, SchedulerName

from .loading import load_model
from .reference import SIZE, a_box, a_picture, assert_makes_the_pipelines_image, by_image_pipeline
from .requests import a_params
from .tiny_checkpoint import build_folder, original_tensors, ready_pipeline, write_file

WIDTH, HEIGHT = SIZE
BOX = InputImages(a_picture(), a_box())
WHITE = np.full((HEIGHT, WIDTH), 255, np.uint8)


def load(model: Path, configs: Path, cache_dir: Path) -> SdxlModel:
    return load_model(model, cache_dir, name="inpainting", configs=configs)


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inpainting") / "folder"
    build_folder(folder, tiny_folder, in_channels=9)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> SdxlModel:
    return load(folder, folder, folder.parent)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    pipe: Any = StableDiffusionXLInpaintPipeline.from_pretrained(folder, add_watermarker=False)
    return ready_pipeline(pipe)


@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
@pytest.mark.parametrize("strength", [0.3, 0.58, 0.95, 1.0])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_makes_the_pipelines_image(
    pipe: Any, model: SdxlModel, scheduler: SchedulerName | None, strength: float, guidance_scale: float
) -> None:
    params = a_params(
        scheduler=scheduler,
        strength=strength,
        guidance_scale=guidance_scale,
        num_inference_steps=5,
        width=WIDTH,
        height=HEIGHT,
    )
    own = make_scheduler(pipe.own_scheduler, scheduler)
    assert_makes_the_pipelines_image(pipe, own, model, params, BOX)


@pytest.mark.parametrize("scheduler", [None, "euler_a", "dpmpp_2m_karras"])
@pytest.mark.parametrize(
    ("strength", "inputs"), [(1.0, InputImages()), (0.58, InputImages(a_picture())), (1.0, InputImages(a_picture()))]
)
def test_without_a_mask_everything_is_to_change(
    pipe: Any, model: SdxlModel, scheduler: SchedulerName | None, strength: float, inputs: InputImages
) -> None:
    params = a_params(scheduler=scheduler, strength=strength, num_inference_steps=5, width=WIDTH, height=HEIGHT)
    own = make_scheduler(pipe.own_scheduler, scheduler)
    all_white = InputImages(a_picture(), WHITE)
    assert_makes_the_pipelines_image(pipe, own, model, params, inputs, reference=all_white)


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m_karras", "lcm"])
@pytest.mark.parametrize("strength", [0.58, 1.0])
def test_velocity_models_inpaint_like_the_pipeline(
    pipe: Any, model: SdxlModel, scheduler: SchedulerName, strength: float
) -> None:
    own = pipe.own_scheduler
    velocity = type(own).from_config(
        own.config, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    params = a_params(scheduler=scheduler, strength=strength, num_inference_steps=5, width=WIDTH, height=HEIGHT)
    assert_makes_the_pipelines_image(
        pipe, make_scheduler(velocity, scheduler), replace(model, scheduler=velocity), params, BOX
    )


def test_each_of_several_images_is_the_pipelines_for_its_own_seed(pipe: Any, model: SdxlModel) -> None:
    params = a_params(strength=0.75, width=WIDTH, height=HEIGHT)
    second = model.prepare(replace(params, num_images=2), model.encode(BOX))[1]
    while second.steps_done < second.total_steps:
        model.step([second])
    scheduler = make_scheduler(pipe.own_scheduler, None)
    expected, _ = by_image_pipeline(pipe, replace(params, seed=params.seed + 1), scheduler, BOX)
    assert torch.equal(second.latents, expected)


def test_a_single_file_makes_the_same_image(model: SdxlModel, folder: Path, tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.safetensors", original_tensors(folder))
    of_file = load(path, folder, tmp_path)
    params = a_params(strength=0.75, width=WIDTH, height=HEIGHT)
    latents: list[torch.Tensor] = []
    for each in (model, of_file):
        (sample,) = each.prepare(params, each.encode(BOX))
        while sample.steps_done < sample.total_steps:
            each.step([sample])
        latents.append(sample.latents)
    # Weights lie elsewhere in memory, and kernels give other last bits at other alignments.
    torch.testing.assert_close(*latents, atol=1e-4, rtol=1e-4)


def test_the_result_keeps_the_surroundings(model: SdxlModel) -> None:
    assert BOX.image is not None
    assert BOX.mask is not None
    outside = BOX.mask == 0
    (sample,) = model.prepare(a_params(strength=0.5, width=WIDTH, height=HEIGHT), model.encode(BOX))
    model.step([sample])
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    np.testing.assert_array_equal(model.decode(sample)[outside], BOX.image[outside])
    # Nothing of it is held once it is of no more use.
    assert sample.beside is None


def test_jobs_with_and_without_images_share_a_call(model: SdxlModel) -> None:
    params = a_params(strength=0.5, num_inference_steps=4, width=WIDTH, height=HEIGHT)
    (alone,) = model.prepare(params, model.encode(BOX))
    (shared,) = model.prepare(params, model.encode(BOX))
    (plain,) = model.prepare(replace(params, strength=None))
    while alone.steps_done < alone.total_steps:
        model.step([alone])
        model.step([shared, plain])
    torch.testing.assert_close(shared.latents, alone.latents, atol=1e-4, rtol=1e-4)


def test_the_grey_image_of_a_size_is_encoded_once(model: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    params = a_params(width=WIDTH, height=HEIGHT)
    (first,) = model.prepare(params)

    def fail(*_arguments: object) -> None:
        raise AssertionError("encoded again")

    vae = model.encoder._vae  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(vae.encoder, "forward", fail)
    (second,) = model.prepare(params)
    assert first.beside is not None
    assert second.beside is not None
    assert torch.equal(first.beside, second.beside)
