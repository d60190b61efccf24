"""Images that start from images, on a device: those of a CPU."""

from __future__ import annotations

import pytest

from latentcast_worker.inputs import InputImages
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import GenerationParams

from ..reference import Bytes, a_box, denoised
from ..test_previews import downscaled, psnr
from .support import needs_device, params

pytestmark = needs_device


def drawn(model: SdxlModel, asked: GenerationParams, inputs: InputImages) -> Bytes:
    (sample,) = model.prepare(asked, model.encode(inputs))
    while sample.steps_done < sample.total_steps:
        model.step([sample])
    return model.decode(sample)


@pytest.mark.parametrize("masked", [False, True])
def test_an_image_leads_as_on_a_cpu(exact: SdxlModel, on_cpu: SdxlModel, masked: bool) -> None:
    start = on_cpu.decode(denoised(on_cpu, params(prompt="a lighthouse at dusk", seed=3)))
    inputs = InputImages(start, a_box((256, 256)) if masked else None)
    asked = params(prompt="a lighthouse at sunset", num_inference_steps=20, strength=0.6)
    ours, theirs = (drawn(model, asked, inputs) for model in (exact, on_cpu))
    print(f"masked {masked}: {psnr(ours, theirs):.1f} dB")
    assert psnr(downscaled(ours, 4), downscaled(theirs, 4)) >= 25
    if masked:
        assert inputs.mask is not None
        outside = inputs.mask == 0
        assert (ours[outside] == start[outside]).all()
