"""The same seed is the same picture: always to the bit in exact mode, nearly so in shared calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import Generate, Result
from latentcast_worker.seeds import image_seed

from .fakes import EngineRun
from .requests import a_plan, a_request
from .test_previews import psnr

CROWD: Sequence[Generate] = [
    a_request("euler", scheduler="euler", num_inference_steps=5),
    a_request("ancestral", scheduler="euler_a", seed=8, num_inference_steps=4, prompt="a forest"),
    a_request("solver", scheduler="dpmpp_2m_karras", seed=9, num_inference_steps=6, guidance_scale=2.5),
    a_request("unguided", scheduler="ddim", seed=10, guidance_scale=0.0),
    a_request("pair", scheduler="unipc", seed=2**32 - 1, num_images=2, negative_prompt=""),
    a_request("wide", width=128, seed=11),
]


def run_together(model: SdxlModel, requests: Sequence[Generate]) -> EngineRun:
    run = EngineRun(model)
    run.run(*requests, endings=len(requests))
    return run


def pictures(model: SdxlModel, requests: Sequence[Generate]) -> dict[str, list[bytes]]:
    """Runs the requests together through an engine; the RGB8 of each job's images."""
    return pictures_of(run_together(model, requests))


def pictures_of(run: EngineRun) -> dict[str, list[bytes]]:
    return {
        report.job_id: [bytes(frame) for frame in payload]
        for report, payload in zip(run.reports, run.payloads, strict=True)
        if isinstance(report, Result)
    }


def alone(model: SdxlModel) -> dict[str, list[bytes]]:
    return {request.job_id: pictures(model, [request])[request.job_id] for request in CROWD}


def test_exact_mode_gives_the_same_bytes_alone_and_in_a_crowd(tiny_model: SdxlModel) -> None:
    assert pictures(tiny_model, CROWD) == alone(tiny_model)


def test_exact_mode_gives_the_same_bytes_with_and_without_previews(tiny_model: SdxlModel) -> None:
    watched = [replace(request, preview=a_plan(max_side=16)) for request in CROWD]
    assert pictures(tiny_model, watched) == pictures(tiny_model, CROWD)


def test_an_image_of_a_request_is_made_again_alone_by_its_own_seed(tiny_model: SdxlModel) -> None:
    pair = next(request for request in CROWD if request.job_id == "pair")
    together = pictures(tiny_model, [pair])["pair"]
    second = replace(pair, params=replace(pair.params, num_images=1, seed=image_seed(pair.params.seed, 1)))
    assert pictures(tiny_model, [second])["pair"] == [together[1]]


@pytest.mark.parametrize("batch", [2, 4])
def test_shared_calls_give_nearly_the_same_images(tiny_model: SdxlModel, batch: int) -> None:
    costs = CallCosts(tuple(1 + 0.1 * count for count in range(batch)))
    sharing = replace(tiny_model, costs=costs, capabilities=replace(tiny_model.capabilities, max_batch=batch))
    together = run_together(sharing, CROWD)
    steps = sum(request.params.num_inference_steps * request.params.num_images for request in CROWD)
    images = sum(request.params.num_images for request in CROWD)
    assert together.telemetry.iterations < len(CROWD) + steps + images
    shared, exact = pictures_of(together), alone(tiny_model)
    for job_id, images in exact.items():
        for image, expected in zip(shared[job_id], images, strict=True):
            assert psnr(np.frombuffer(image, np.uint8), np.frombuffer(expected, np.uint8)) >= 45
