"""LoRAs on a device: the image of a CPU, and the same bits whether calls are captured or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import StableDiffusionXLPipeline

from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Generate, Lora

from ..loading import load_model
from ..loras import FORMATS, everywhere, is_attention, random_lora
from ..test_previews import downscaled, psnr
from ..test_seed_contract import pictures
from .support import DEMO, DEVICE, an_image, decoded_image, needs_cuda, needs_device

pytestmark = needs_device

SCALES = {"kohya": 2.0, "LoKr": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random LoRAs of the demo model: of all attention layers, and of every layer by Kronecker products."""
    folder = tmp_path_factory.mktemp("loras")
    pipeline = StableDiffusionXLPipeline.from_pretrained(DEMO, add_watermarker=False)
    for seed, (name, where) in enumerate((("kohya", is_attention), ("LoKr", everywhere))):
        kind, namer = FORMATS[name]
        random_lora(pipeline, seed, format=kind, namer=namer, where=where).save(folder, name)
    return folder


@pytest.fixture(scope="module")
def load_with_loras(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SdxlModel]:
    cache_dir = tmp_path_factory.mktemp("cache")
    return lambda device: load_model(DEMO, cache_dir, name="demo", device=device, lora_dir=str(folder))


@pytest.fixture(scope="module")
def model(load_with_loras: Callable[[str], SdxlModel]) -> SdxlModel:
    return load_with_loras(DEVICE)


def with_loras(*names: str, scale: float = 1.0, job_id: str = "job") -> Generate:
    request = an_image(job_id)
    loras = tuple(Lora(path=name, scale=SCALES[name] * scale) for name in names)
    return replace(request, params=replace(request.params, loras=loras))


@pytest.mark.parametrize("names", [("kohya",), ("LoKr",), ("kohya", "LoKr")])
def test_a_lora_means_the_same_as_on_a_cpu(
    model: SdxlModel, load_with_loras: Callable[[str], SdxlModel], names: tuple[str, ...]
) -> None:
    request = with_loras(*names)
    ours, theirs = (decoded_image(each, request) for each in (model, load_with_loras("cpu")))
    without = decoded_image(model, with_loras())
    print(f"{names}: {psnr(ours, theirs):.1f} dB; without {psnr(ours, without):.1f} dB")
    assert psnr(downscaled(ours, 4), downscaled(theirs, 4)) >= 25
    assert psnr(ours, without) < 35, "the LoRA changes next to nothing"


@needs_cuda
def test_graphs_keep_the_bits_of_images_with_loras(model: SdxlModel) -> None:
    crowd = [
        with_loras("kohya", job_id="one"),
        with_loras("LoKr", job_id="other"),
        with_loras("kohya", scale=0.5, job_id="weaker"),
        with_loras("LoKr", "kohya", job_id="both"),
        with_loras(job_id="none"),
    ]
    before = model.unet.speed
    model.unet.use(Speed())
    expected = {request.job_id: decoded_image(model, request).tobytes() for request in crowd}
    model.unet.use(Speed(graphs=True))
    try:
        for _ in range(2):
            for request in crowd:
                assert pictures(model, [request]) == {request.job_id: [expected[request.job_id]]}
        together = pictures(model, crowd)
        assert {job_id: images[0] for job_id, images in together.items()} == expected
        assert model.unet.speed == Speed(graphs=True), "it fell back"
        model.release_memory()
        assert model.loras is not None
        assert model.loras.size == 0
        assert pictures(model, crowd[:1]) == {"one": [expected["one"]]}
    finally:
        model.unet.use(before)
