"""Ways of calling the UNet: all of them keep the image, some keep its bits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from latentcast_worker.model.acceleration import AcceleratedUNet, Attention, Speed
from latentcast_worker.model.acceleration_graphs import CALLS_BEFORE_CAPTURE, MAX_GRAPHS
from latentcast_worker.model.lora.layers import AdaptedRows
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.settings import ShortcutName

from ..test_previews import downscaled, psnr
from ..test_seed_contract import pictures
from .support import (
    CROWD,
    DEVICE,
    SAME_IMAGE_DB,
    Load,
    alone,
    an_image,
    decoded,
    needs_cuda,
    needs_device,
    params,
    worst_likeness,
)

pytestmark = needs_device


@needs_cuda
def test_graphs_keep_the_bits(plain: SdxlModel) -> None:
    expected = alone(plain)
    plain.unet.use(Speed(graphs=True))
    assert pictures(plain, CROWD) == expected
    assert alone(plain) == expected


@needs_cuda
def test_more_sizes_than_graphs_keep_the_bits(plain: SdxlModel) -> None:
    sides = [64 + 8 * index for index in range(MAX_GRAPHS + 2)]
    requests = [
        an_image(str(side), width=side, height=64, num_inference_steps=CALLS_BEFORE_CAPTURE + 2) for side in sides
    ]
    expected = pictures(plain, requests)
    plain.unet.use(Speed(graphs=True))
    for _ in range(2):
        assert pictures(plain, requests) == expected


@needs_cuda
@pytest.mark.parametrize("attention", ["default", "cudnn", "flash"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_layouts_and_attention_kernels_give_the_same_image(
    plain: SdxlModel, attention: Attention, channels_last: bool
) -> None:
    expected = decoded(plain, params())
    plain.unet.use(Speed(channels_last, attention))
    likeness = psnr(decoded(plain, params()), expected)
    print(f"{plain.unet.speed}: {likeness:.1f} dB")
    assert likeness >= SAME_IMAGE_DB


@needs_cuda
def test_compiled_blocks_give_the_same_image_at_any_size(plain: SdxlModel) -> None:
    others = [params(width=128), params(width=320, height=192, guidance_scale=0.0)]
    expected = [decoded(plain, asked) for asked in (params(), *others)]
    plain.unet.use(Speed(compiled=True, graphs=True))
    found = [decoded(plain, params())]
    plain.unet.freeze()
    found += [decoded(plain, asked) for asked in others]
    assert plain.unet.speed == Speed(compiled=True, graphs=True), "it fell back"
    for ours, theirs in zip(found, expected, strict=True):
        assert psnr(ours, theirs) >= SAME_IMAGE_DB


@needs_cuda
def test_a_calibrated_model_makes_the_same_images_and_finds_its_calibration_again(exact: SdxlModel, load: Load) -> None:
    first = load(DEVICE, None)
    likeness = worst_likeness(pictures(first, CROWD), alone(exact))
    print(f"{first.unet.speed}, costs {first.costs.seconds}: {likeness:.1f} dB")
    assert likeness >= SAME_IMAGE_DB
    again = load(DEVICE, None)
    assert again.unet.speed == first.unet.speed
    assert again.costs == first.costs
    assert worst_likeness(pictures(again, CROWD), alone(exact)) >= SAME_IMAGE_DB


@needs_cuda
def test_a_capture_that_breaks_leads_back_to_plain_calls(plain: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pictures(plain, CROWD)
    call = AcceleratedUNet._call_unet  # pyright: ignore[reportPrivateUsage]

    def look(self: AcceleratedUNet, *inputs: Tensor, adapted: Sequence[AdaptedRows] = ()) -> Tensor:
        output = call(self, *inputs, adapted=adapted)
        if torch.cuda.is_current_stream_capturing():
            output.sum().item()  # What no capture allows.
        return output

    monkeypatch.setattr(AcceleratedUNet, "_call_unet", look)
    plain.unet.use(Speed(graphs=True))
    assert pictures(plain, CROWD) == expected
    assert plain.unet.speed == Speed()


@pytest.mark.parametrize("shortcuts", [("cfg-cutoff",), ("step-cache",), ("cfg-cutoff", "step-cache")])
def test_shortcuts_do_what_they_do_on_a_cpu(load: Load, shortcuts: Sequence[ShortcutName]) -> None:
    asked = params(num_inference_steps=20)
    ours, theirs = (decoded(load(device, 1, *shortcuts), asked) for device in (DEVICE, "cpu"))
    assert psnr(downscaled(ours, 4), downscaled(theirs, 4)) >= 25
