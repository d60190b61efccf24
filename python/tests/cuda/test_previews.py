"""Previews on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from latentcast_worker.model.decode import InlinePreviews, PreviewRenderer, StreamPreviews, to_rgb8
from latentcast_worker.model.fused_tiny import FusedTinyBlock, fuse_tiny
from latentcast_worker.model.port import NumericalError
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import SDXL_LATENT_RGB

from ..requests import a_plan
from ..test_previews import TAESDXL, a_scene, psnr
from .support import DEVICE, IS_CUDA, needs_cuda, needs_device, params

pytestmark = needs_device


@pytest.mark.parametrize("decoder", ["tae", "linear"])
def test_a_preview_shows_its_own_step_while_others_run(exact: SdxlModel, decoder: str) -> None:
    held = [exact.prepare(params(seed=seed, num_inference_steps=20))[0] for seed in range(3)]
    plan = a_plan(decoder=decoder)
    pending: list[Any] = []
    expected: list[NDArray[np.uint8]] = []
    for _ in range(6):
        for sample in held:
            exact.step([sample])
            expected.append(exact.start_preview([sample], plan).wait()[0].copy())
    again = [exact.prepare(params(seed=seed, num_inference_steps=20))[0] for seed in range(3)]
    for _ in range(6):
        for sample in again:
            exact.step([sample])
            pending.append(exact.start_preview([sample], plan))
    for preview, pixels in zip(pending, expected, strict=True):
        np.testing.assert_array_equal(preview.wait()[0], pixels)


@pytest.mark.skipif(not TAESDXL.is_dir(), reason="needs published weights")
def test_the_published_tiny_decoder_gives_the_image_back() -> None:
    device = torch.device(DEVICE)
    tiny: Any = AutoencoderTiny.from_pretrained(TAESDXL, torch_dtype=torch.bfloat16).eval()
    tiny.to(device, memory_format=torch.channels_last)
    if IS_CUDA:
        fuse_tiny(tiny)
        assert any(type(part) is FusedTinyBlock for part in tiny.modules())
    renderer = PreviewRenderer(tiny, SDXL_LATENT_RGB, device)
    previews = StreamPreviews(renderer, device) if IS_CUDA else InlinePreviews(renderer)
    scene = a_scene(128)
    with torch.inference_mode():
        image = torch.from_numpy(scene).permute(2, 0, 1)[None].to(device, torch.bfloat16) / 127.5 - 1
        (pixels,) = previews.start(tiny.encode(image).latents.float(), a_plan()).wait()
    assert psnr(pixels, scene) > 24


@needs_cuda
@pytest.mark.skipif(not TAESDXL.is_dir(), reason="needs published weights")
def test_a_fused_tiny_decoder_decodes_as_before() -> None:
    tiny: Any = AutoencoderTiny.from_pretrained(TAESDXL, torch_dtype=torch.bfloat16).eval()
    tiny.to(DEVICE, memory_format=torch.channels_last)
    scene = torch.from_numpy(a_scene(128)).permute(2, 0, 1)[None].to(DEVICE, torch.bfloat16) / 127.5 - 1
    with torch.inference_mode():
        latents = tiny.encode(scene).latents
        expected = to_rgb8(tiny.decode(latents, return_dict=False)[0])
        fuse_tiny(tiny)
        found = to_rgb8(tiny.decode(latents, return_dict=False)[0])
    assert psnr(found.cpu().numpy(), expected.cpu().numpy()) >= 45


def test_latents_that_are_not_finite_are_an_error(exact: SdxlModel) -> None:
    (sample,) = exact.prepare(params())
    exact.step([sample])
    sample.x0 = sample.latents = torch.full_like(sample.latents, float("nan"))
    with pytest.raises(NumericalError):
        exact.start_preview([sample], a_plan()).wait()
    with pytest.raises(NumericalError):
        exact.decode(sample)
