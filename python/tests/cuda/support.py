"""What the tests of a CUDA device share. `LATENTCAST_TEST_DEVICE` names another device than `cuda:0`.

Most of them run on a CPU as well (`LATENTCAST_TEST_DEVICE=cpu`), which shows that the tests are sound.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Generate, GenerationParams
from latentcast_worker.settings import ShortcutName

from ..reference import denoised
from ..requests import a_params, a_request
from ..test_previews import psnr
from ..test_seed_contract import pictures

DEVICE = os.environ.get("LATENTCAST_TEST_DEVICE", "cuda:0")
IS_CUDA = DEVICE.startswith("cuda")
DEMO = Path(__file__).parents[3] / "models" / "demo"

needs_device = pytest.mark.skipif(IS_CUDA and not torch.cuda.is_available(), reason="needs CUDA")
needs_cuda = pytest.mark.skipif(not IS_CUDA, reason="needs CUDA")

# Rounding of half precision, which every other way of computing may round in another way.
SAME_IMAGE_DB = 40

SIZE: dict[str, Any] = {"width": 256, "height": 256, "num_inference_steps": 8, "guidance_scale": 3.0}


class Load(Protocol):
    def __call__(self, device: str = ..., max_batch: int | None = ..., *shortcuts: ShortcutName) -> SdxlModel: ...


def an_image(job_id: str = "job", **changes: Any) -> Generate:
    return a_request(job_id, **{**SIZE, **changes})


def params(**changes: Any) -> GenerationParams:
    return a_params(**{**SIZE, **changes})


CROWD: Sequence[Generate] = [
    an_image("euler", scheduler="euler"),
    an_image("ancestral", scheduler="euler_a", seed=8, num_inference_steps=6, prompt="a cactus in the desert"),
    an_image("solver", scheduler="dpmpp_2m_karras", seed=9, prompt="northern lights over snowy mountains"),
    an_image("unguided", scheduler="ddim", seed=10, guidance_scale=0.0),
    an_image("pair", scheduler="unipc", seed=2**32 - 1, num_images=2, negative_prompt=""),
    an_image("wide", width=320, height=192, seed=11),
]


def alone(model: SdxlModel) -> Mapping[str, list[bytes]]:
    return {request.job_id: pictures(model, [request])[request.job_id] for request in CROWD}


def decoded(model: SdxlModel, asked: GenerationParams) -> NDArray[np.uint8]:
    return model.decode(denoised(model, asked))


def decoded_image(model: SdxlModel, request: Generate) -> NDArray[np.uint8]:
    """The one image of a request, with its LoRAs, without an engine."""
    fetching = model.fetch(request.params, lambda: None)
    (sample,) = model.prepare(request.params, None, None if fetching is None else fetching.result(timeout=60))
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    return model.decode(sample)


def worst_likeness(ours: Mapping[str, list[bytes]], theirs: Mapping[str, list[bytes]]) -> float:
    return min(
        psnr(np.frombuffer(image, np.uint8), np.frombuffer(expected, np.uint8))
        for job_id, images in theirs.items()
        for image, expected in zip(ours[job_id], images, strict=True)
    )
