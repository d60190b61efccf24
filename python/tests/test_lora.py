"""LoRAs in images: against weights that were merged by hand, alone, in company and switched off."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import Generate, GenerationParams, Lora

from .loading import load_model
from .loras import FORMATS, RandomLora, everywhere, in_unet, is_attention, merge, random_lora
from .reference import by_pipeline
from .requests import a_params, a_request
from .test_previews import psnr
from .test_seed_contract import pictures, pictures_of, run_together


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loras")


@pytest.fixture(scope="module")
def model(tiny_folder: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SdxlModel:
    """The tiny model in exact mode, with a folder of LoRAs."""
    return load_model(tiny_folder, tmp_path_factory.mktemp("cache"), lora_dir=str(folder))


@pytest.fixture
def merged(tiny_folder: Path) -> Any:
    """A pipeline whose weights a test may change."""
    pipe: Any = StableDiffusionXLPipeline.from_pretrained(tiny_folder, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(model: SdxlModel, params: GenerationParams) -> torch.Tensor:
    fetching = model.fetch(params, lambda: None)
    fetched = None if fetching is None else fetching.result(timeout=60)
    (sample,) = model.prepare(params, None, fetched)
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    return sample.latents


def merged_latents(merged: Any, params: GenerationParams, *loras: tuple[RandomLora, float]) -> torch.Tensor:
    merge(merged, *loras)
    return by_pipeline(merged, params, merged.scheduler, output_type="latent")


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    scale = float(theirs.abs().max())
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)


# Formats


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_in_every_layer_is_what_merged_weights_give(
    pipeline: Any, merged: Any, model: SdxlModel, folder: Path, kind: str
) -> None:
    format, namer = FORMATS[kind]
    made = random_lora(pipeline, format=format, namer=namer, where=everywhere)
    made.save(folder, "formats/each")
    params = a_params(loras=(Lora(path="formats/each", scale=0.3),))
    ours = latents_of(model, params)
    assert_close(ours, merged_latents(merged, params, (made, 0.3)))
    assert not torch.equal(ours, latents_of(model, a_params()))


@pytest.mark.parametrize("where", [is_attention, in_unet])
def test_parts_of_a_model_may_be_left_alone(
    pipeline: Any, merged: Any, model: SdxlModel, folder: Path, where: Callable[[Any, str], bool]
) -> None:
    made = random_lora(pipeline, where=where)
    made.save(folder, "some")
    params = a_params(loras=(Lora(path="some", scale=1.0),))
    assert_close(latents_of(model, params), merged_latents(merged, params, (made, 1.0)))


def test_several_loras_add_up_with_their_scales(pipeline: Any, merged: Any, model: SdxlModel, folder: Path) -> None:
    made = [random_lora(pipeline, seed, where=everywhere) for seed in range(3)]
    scales = (0.8, -0.5, 0.1)
    for index, each in enumerate(made):
        each.save(folder, f"of-three-{index}")
    params = a_params(loras=tuple(Lora(path=f"of-three-{index}", scale=scale) for index, scale in enumerate(scales)))
    expected = merged_latents(merged, params, *zip(made, scales, strict=True))
    assert_close(latents_of(model, params), expected)


def test_alpha_in_pefts_metadata_counts(pipeline: Any, merged: Any, model: SdxlModel, folder: Path) -> None:
    format, namer = FORMATS["peft"]
    made = random_lora(pipeline, format=format, namer=namer)
    made.save(folder, "with-metadata", {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 2}'})
    params = a_params(loras=(Lora(path="with-metadata", scale=1.0),))
    assert_close(latents_of(model, params), merged_latents(merged, params, (made, 0.5)))


@pytest.mark.parametrize("clip_skip", [None, 1])
def test_a_lora_of_the_text_encoders_changes_prompts_only(
    pipeline: Any, merged: Any, model: SdxlModel, folder: Path, clip_skip: int | None
) -> None:
    made = random_lora(pipeline, where=lambda component, _name: component != "unet")
    made.save(folder, "texts")
    params = a_params(loras=(Lora(path="texts", scale=0.5),), clip_skip=clip_skip)
    fetched = model.fetch(params, lambda: None)
    assert fetched is not None
    (sample,) = model.prepare(params, None, fetched.result(timeout=60))
    assert sample.loras == ()
    plain = model.prepare(replace(params, loras=()))[0].conditioning
    assert not torch.equal(sample.conditioning.tokens, plain.tokens)
    assert not torch.equal(sample.conditioning.pooled, plain.pooled)
    assert_close(latents_of(model, params), merged_latents(merged, params, (made, 0.5)))


def test_a_prompt_is_encoded_anew_for_each_scale_of_a_lora(pipeline: Any, model: SdxlModel, folder: Path) -> None:
    random_lora(pipeline, where=lambda component, _name: component == "text_encoder").save(folder, "text")
    made = [latents_of(model, a_params(loras=(Lora(path="text", scale=scale),))) for scale in (0.5, 1.0, 0.5)]
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


# Without


def test_a_model_with_a_folder_gives_the_bits_of_one_without(tiny_model: SdxlModel, model: SdxlModel) -> None:
    assert torch.equal(latents_of(model, a_params()), latents_of(tiny_model, a_params()))


def test_the_models_own_images_keep_their_bits_beside_loras(pipeline: Any, model: SdxlModel, folder: Path) -> None:
    random_lora(pipeline, where=everywhere).save(folder, "beside")
    before = latents_of(model, a_params())
    adapted = latents_of(model, a_params(loras=(Lora(path="beside", scale=1.0),)))
    assert torch.equal(latents_of(model, a_params()), before)
    assert not torch.equal(adapted, before)
    assert torch.equal(latents_of(model, a_params(loras=(Lora(path="beside", scale=0.0),))), before)


# In company


@pytest.fixture(scope="module")
def crowd(pipeline: Any, folder: Path) -> Sequence[Generate]:
    """Three LoRAs, two at once, none, and two images of one request."""
    for name, seed in (("one", 1), ("two", 2), ("three", 3)):
        random_lora(pipeline, seed, where=everywhere).save(folder, f"crowd/{name}")
    one, two, three = (Lora(path=f"crowd/{name}", scale=0.3) for name in ("one", "two", "three"))
    wanted = {"a": (one,), "b": (two,), "c": (three,), "both": (one, three), "none": (), "pair": (two,)}
    return [
        a_request(
            name,
            loras=loras,
            seed=seed,
            num_images=2 if name == "pair" else 1,
            guidance_scale=1.0 if name == "b" else 5.0,
        )
        for seed, (name, loras) in enumerate(wanted.items())
    ]


def test_exact_mode_gives_each_image_the_bits_that_it_has_alone(model: SdxlModel, crowd: Sequence[Generate]) -> None:
    alone = {request.job_id: pictures(model, [request])[request.job_id] for request in crowd}
    assert pictures(model, crowd) == alone
    assert len({image for images in alone.values() for image in images}) == len(crowd) + 1


@pytest.mark.parametrize("shortcut", [False, True])
def test_images_with_different_loras_share_calls_and_stay_as_alone(
    tiny_folder: Path, model: SdxlModel, folder: Path, crowd: Sequence[Generate], tmp_path: Path, shortcut: bool
) -> None:
    exact = model
    if shortcut:
        exact = load_model(tiny_folder, tmp_path, lora_dir=str(folder), shortcuts=("step-cache",))
    # First: what is loaded meanwhile counts as work too.
    alone = {request.job_id: pictures(exact, [request])[request.job_id] for request in crowd}
    costs = CallCosts((1.0, 1.1, 1.2, 1.3))
    sharing = replace(exact, costs=costs, capabilities=replace(exact.capabilities, max_batch=4))
    together = run_together(sharing, crowd)
    steps = sum(request.params.num_inference_steps * request.params.num_images for request in crowd)
    assert together.telemetry.iterations < steps
    shared = pictures_of(together)
    for job_id, images in alone.items():
        for image, expected in zip(shared[job_id], images, strict=True):
            assert psnr(np.frombuffer(image, np.uint8), np.frombuffer(expected, np.uint8)) >= 45


def test_three_rows_with_three_loras_are_three_calls_with_one(model: SdxlModel, crowd: Sequence[Generate]) -> None:
    requests = [request for request in crowd if request.job_id in ("a", "both", "c")]

    def prepared(params: GenerationParams) -> Any:
        fetching = model.fetch(params, lambda: None)
        assert fetching is not None
        return model.prepare(params, None, fetching.result(timeout=60))[0]

    together = [prepared(request.params) for request in requests]
    for _ in range(together[0].total_steps):
        model.step(together)
    for sample, request in zip(together, requests, strict=True):
        assert_close(sample.latents, latents_of(model, request.params))
    for first, second in itertools.combinations(together, 2):
        assert float((first.latents - second.latents).abs().max()) > 0.01
