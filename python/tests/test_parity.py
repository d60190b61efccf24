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
from latentcast_worker.protocol import SCHEDULERS, Generate, SchedulerName

from .reference import by_pipeline, denoised
from .requests import a_request

LONG_PROMPT = "a very long description of a lighthouse on a cliff above a stormy sea " * 3
SIZES = [(64, 64), (128, 128), (168, 104)]


def with_latents(pipeline: Any, request: Generate) -> tuple[Tensor, NDArray[np.uint8]]:
    """The pipeline's last latents and its picture."""
    last: list[Tensor] = []

    def keep_latents(_pipe: Any, _step: int, _timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last[:] = [values["latents"]]
        return values

    scheduler = make_scheduler(pipeline.own_scheduler, request.scheduler)
    images = by_pipeline(pipeline, request, scheduler, callback_on_step_end=keep_latents)
    return last[0], np.asarray(images[0])


def assert_same(pipeline: Any, model: SdxlModel, request: Generate) -> None:
    expected_latents, expected_image = with_latents(pipeline, request)
    sample = denoised(model, request)
    assert torch.isfinite(expected_latents).all()
    assert torch.equal(sample.latents, expected_latents)
    np.testing.assert_array_equal(model.decode(sample), expected_image)


@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_makes_the_pipelines_picture(
    pipeline: Any,
    tiny_model: SdxlModel,
    scheduler: SchedulerName | None,
    steps: int,
    guidance_scale: float,
    size: tuple[int, int],
) -> None:
    width, height = size
    request = a_request(
        scheduler=scheduler, num_inference_steps=steps, guidance_scale=guidance_scale, width=width, height=height
    )
    assert_same(pipeline, tiny_model, request)


@pytest.mark.parametrize("guidance_scale", [0.0, 0.5, 1.0, 1.01, 20.0])
def test_guides_above_a_scale_of_one_only(pipeline: Any, tiny_model: SdxlModel, guidance_scale: float) -> None:
    assert_same(pipeline, tiny_model, a_request(guidance_scale=guidance_scale))


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
def test_reads_prompts_like_the_pipeline(
    pipeline: Any, tiny_model: SdxlModel, prompt: str, negative_prompt: str
) -> None:
    assert_same(pipeline, tiny_model, a_request(prompt=prompt, negative_prompt=negative_prompt))


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_takes_every_seed(pipeline: Any, tiny_model: SdxlModel, seed: int) -> None:
    assert_same(pipeline, tiny_model, a_request(seed=seed))


def test_cached_prompts_change_nothing(pipeline: Any, tiny_model: SdxlModel) -> None:
    denoised(tiny_model, a_request(prompt="first", negative_prompt="second"))
    assert_same(pipeline, tiny_model, a_request(prompt="second", negative_prompt="first"))
