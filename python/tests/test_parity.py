"""The engine's picture is StableDiffusionXLPipeline's, bit for bit, on the CPU with one picture per call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentcast_worker.model.schedulers import make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import SCHEDULER_NAMES, GenerationParams, SchedulerName

from .reference import by_pipeline, denoised
from .requests import a_params

LONG_PROMPT = "a very long description of a lighthouse on a cliff above a stormy sea " * 3
SIZES = [(64, 64), (128, 128), (168, 104)]


def with_latents(pipeline: Any, params: GenerationParams) -> tuple[Tensor, NDArray[np.uint8]]:
    """The pipeline's last latents and its picture."""
    last: list[Tensor] = []

    def keep_latents(_pipe: Any, _step: int, _timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last[:] = [values["latents"]]
        return values

    scheduler = make_scheduler(pipeline.own_scheduler, params.scheduler)
    images = by_pipeline(pipeline, params, scheduler, callback_on_step_end=keep_latents)
    return last[0], np.asarray(images[0])


def assert_same(pipeline: Any, model: SdxlModel, params: GenerationParams) -> None:
    expected_latents, expected_image = with_latents(pipeline, params)
    sample = denoised(model, params)
    assert torch.isfinite(expected_latents).all()
    assert torch.equal(sample.latents, expected_latents)
    np.testing.assert_array_equal(model.decode(sample), expected_image)


@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_the_image_is_the_pipelines(
    pipeline: Any,
    tiny_model: SdxlModel,
    scheduler: SchedulerName | None,
    steps: int,
    guidance_scale: float,
    size: tuple[int, int],
) -> None:
    width, height = size
    params = a_params(
        scheduler=scheduler, num_inference_steps=steps, guidance_scale=guidance_scale, width=width, height=height
    )
    assert_same(pipeline, tiny_model, params)


@pytest.mark.parametrize("guidance_scale", [0.0, 0.5, 1.0, 1.01, 20.0])
def test_guidance_is_used_above_a_scale_of_one_only(
    pipeline: Any, tiny_model: SdxlModel, guidance_scale: float
) -> None:
    assert_same(pipeline, tiny_model, a_params(guidance_scale=guidance_scale))


@pytest.mark.parametrize(
    ("prompt", "negative_prompt"),
    [
        ("a beautiful sunset", ""),
        (LONG_PROMPT, "ugly"),
        ("a cat", LONG_PROMPT),
        ("美しい夕日 — закат над морем 🌅", "flou, à éviter"),
        ("  spaces\tand\nlines  ", " "),
        ("<|endoftext|> in the text", "<|startoftext|>"),
    ],
    ids=["empty negative", "long", "long negative", "not ASCII", "white space", "special tokens"],
)
def test_prompts_are_read_like_the_pipelines(
    pipeline: Any, tiny_model: SdxlModel, prompt: str, negative_prompt: str
) -> None:
    assert_same(pipeline, tiny_model, a_params(prompt=prompt, negative_prompt=negative_prompt, prompt_syntax="plain"))


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_every_seed_is_accepted(pipeline: Any, tiny_model: SdxlModel, seed: int) -> None:
    assert_same(pipeline, tiny_model, a_params(seed=seed))


def test_cached_prompts_change_nothing(pipeline: Any, tiny_model: SdxlModel) -> None:
    denoised(tiny_model, a_params(prompt="first", negative_prompt="second"))
    assert_same(pipeline, tiny_model, a_params(prompt="second", negative_prompt="first"))


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("clip_skip", [0, 1, 2])
def test_clip_skip_leaves_out_the_pipelines_layers(
    pipeline: Any, tiny_model: SdxlModel, clip_skip: int, guidance_scale: float
) -> None:
    assert_same(pipeline, tiny_model, a_params(clip_skip=clip_skip, guidance_scale=guidance_scale))


def test_the_same_prompt_with_and_without_clip_skip_is_not_confused(pipeline: Any, tiny_model: SdxlModel) -> None:
    plain, skipped = a_params(negative_prompt="a beautiful sunset"), a_params(clip_skip=1)
    for params in (plain, skipped, plain):
        assert_same(pipeline, tiny_model, params)
    assert not torch.equal(denoised(tiny_model, plain).latents, denoised(tiny_model, skipped).latents)
