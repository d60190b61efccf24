"""What only a CUDA device can show. Skipped without one; `LATENTCAST_TEST_DEVICE` names another than `cuda:0`.

Most of it runs on a CPU as well (`LATENTCAST_TEST_DEVICE=cpu`), which shows that the tests are sound.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor

from latentcast_worker.model.acceleration import AcceleratedUNet, Attention, Speed
from latentcast_worker.model.acceleration_graphs import CALLS_BEFORE_CAPTURE, MAX_GRAPHS, Graphs
from latentcast_worker.model.decode import InlinePreviews, PreviewRenderer, StreamPreviews, to_rgb8
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.fused_tiny import FusedTinyBlock, fuse_tiny
from latentcast_worker.model.group_norm import SplitGroupNorm
from latentcast_worker.model.load import LoadOptions, load_sdxl
from latentcast_worker.model.port import DeviceOutOfMemoryError, NumericalError
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import SDXL_LATENT_RGB
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import SCHEDULER_NAMES, Cancel, Generate, GenerationParams, SchedulerName, Shutdown
from latentcast_worker.settings import ShortcutName

from .reference import denoised
from .requests import a_params, a_plan, a_request
from .test_previews import TAESDXL, a_scene, downscaled, psnr
from .test_seed_contract import pictures, pictures_of, run_together
from .worker_process import INCARNATION, real_worker

DEVICE = os.environ.get("LATENTCAST_TEST_DEVICE", "cuda:0")
IS_CUDA = DEVICE.startswith("cuda")
DEMO = Path(__file__).parents[2] / "models" / "demo"

pytestmark = pytest.mark.skipif(IS_CUDA and not torch.cuda.is_available(), reason="needs CUDA")
needs_cuda = pytest.mark.skipif(not IS_CUDA, reason="needs CUDA")

# Rounding of half precision, which every other way of computing may round in another way.
SAME_PICTURE_DB = 40

Load = Callable[..., SdxlModel]


SIZE: dict[str, Any] = {"width": 256, "height": 256, "num_inference_steps": 8, "guidance_scale": 3.0}


def a_picture(job_id: str = "job", **changes: Any) -> Generate:
    return a_request(job_id, **{**SIZE, **changes})


def params(**changes: Any) -> GenerationParams:
    return a_params(**{**SIZE, **changes})


CROWD: Sequence[Generate] = [
    a_picture("euler", scheduler="euler"),
    a_picture("ancestral", scheduler="euler_a", seed=8, num_inference_steps=6, prompt="a cactus in the desert"),
    a_picture("solver", scheduler="dpmpp_2m_karras", seed=9, prompt="northern lights over snowy mountains"),
    a_picture("unguided", scheduler="ddim", seed=10, guidance_scale=0.0),
    a_picture("pair", scheduler="unipc", seed=2**32 - 1, num_images=2, negative_prompt=""),
    a_picture("wide", width=320, height=192, seed=11),
]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    cache_dir = tmp_path_factory.mktemp("cache")
    # Set before torch is asked to compile anything; a worker does it before it imports torch.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_dir / "compiled")

    def load_on(device: str = DEVICE, max_batch: int | None = 1, *shortcuts: ShortcutName) -> SdxlModel:
        options = LoadOptions(str(DEMO), "demo", "unused", device, max_batch, cache_dir, frozenset(shortcuts))
        return load_sdxl(options, lambda _report: None, lambda level, line: print(f"{level}: {line}"))

    return load_on


@pytest.fixture(scope="module")
def exact(load: Load) -> SdxlModel:
    return load()


@pytest.fixture(scope="module")
def on_cpu(load: Load) -> SdxlModel:
    return load("cpu")


@pytest.fixture
def plain(exact: SdxlModel) -> Iterator[SdxlModel]:
    """The same model, whose UNet may be called in any way and is given back as it was."""
    before = exact.unet.speed
    exact.unet.use(Speed())
    yield exact
    exact.unet.use(before)


def alone(model: SdxlModel) -> Mapping[str, list[bytes]]:
    return {request.job_id: pictures(model, [request])[request.job_id] for request in CROWD}


def decoded(model: SdxlModel, asked: GenerationParams) -> NDArray[np.uint8]:
    return model.decode(denoised(model, asked))


# The seed contract


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_a_seed_means_the_same_composition_as_on_a_cpu(
    exact: SdxlModel, on_cpu: SdxlModel, scheduler: SchedulerName
) -> None:
    asked = params(scheduler=scheduler, num_inference_steps=20)
    ours, theirs = decoded(exact, asked), decoded(on_cpu, asked)
    print(f"{scheduler}: {psnr(ours, theirs):.1f} dB")
    assert psnr(downscaled(ours, 4), downscaled(theirs, 4)) >= 25


def test_exact_mode_gives_the_same_bytes_alone_and_in_a_crowd(exact: SdxlModel) -> None:
    assert pictures(exact, CROWD) == alone(exact)


def test_exact_mode_gives_the_same_bytes_with_and_without_previews(exact: SdxlModel) -> None:
    watched = [replace(request, preview=a_plan()) for request in CROWD]
    assert pictures(exact, watched) == pictures(exact, CROWD)


def test_another_worker_gives_the_same_bytes(exact: SdxlModel, load: Load) -> None:
    assert pictures(load(), CROWD) == pictures(exact, CROWD)


@pytest.mark.parametrize("batch", [2, 4])
def test_shared_calls_give_nearly_the_same_pictures(exact: SdxlModel, batch: int) -> None:
    costs = CallCosts(tuple(1 + 0.1 * count for count in range(batch)))
    sharing = replace(exact, costs=costs, capabilities=replace(exact.capabilities, max_batch=batch))
    together = run_together(sharing, CROWD)
    steps = sum(request.params.num_inference_steps * request.params.num_images for request in CROWD)
    assert together.telemetry.iterations < steps
    likeness = worst_likeness(pictures_of(together), alone(exact))
    print(f"{batch} together: {likeness:.1f} dB")
    assert likeness >= 45


def worst_likeness(ours: Mapping[str, list[bytes]], theirs: Mapping[str, list[bytes]]) -> float:
    return min(
        psnr(np.frombuffer(image, np.uint8), np.frombuffer(expected, np.uint8))
        for job_id, images in theirs.items()
        for image, expected in zip(ours[job_id], images, strict=True)
    )


@needs_cuda
@torch.inference_mode()
def test_a_prompt_is_the_same_every_time_and_nearly_that_without_a_graph(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = load().prompts
    asked = [(f"a cat, number {number}", clip_skip) for number in range(5) for clip_skip in (None, 1)]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    first = [prompts.encode(text, clip_skip) for text, clip_skip in asked]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    again = [prompts.encode(text, clip_skip) for text, clip_skip in reversed(asked)][::-1]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    monkeypatch.setattr(prompts, "_graphs", None)
    plain = [prompts.encode(text, clip_skip) for text, clip_skip in asked]
    for ours, repeated, theirs in zip(first, again, plain, strict=True):
        assert torch.equal(ours.tokens, repeated.tokens)
        assert torch.equal(ours.pooled, repeated.pooled)
        assert float((ours.tokens - theirs.tokens).norm() / theirs.tokens.norm()) < 0.01
        assert float((ours.pooled - theirs.pooled).norm() / theirs.pooled.norm()) < 0.01


# Ways of calling the UNet


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
        a_picture(str(side), width=side, height=64, num_inference_steps=CALLS_BEFORE_CAPTURE + 2) for side in sides
    ]
    expected = pictures(plain, requests)
    plain.unet.use(Speed(graphs=True))
    for _ in range(2):
        assert pictures(plain, requests) == expected


@needs_cuda
@pytest.mark.parametrize("attention", ["default", "cudnn", "flash"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_layouts_and_attention_kernels_give_the_same_picture(
    plain: SdxlModel, attention: Attention, channels_last: bool
) -> None:
    expected = decoded(plain, params())
    plain.unet.use(Speed(channels_last, attention))
    likeness = psnr(decoded(plain, params()), expected)
    print(f"{plain.unet.speed}: {likeness:.1f} dB")
    assert likeness >= SAME_PICTURE_DB


@needs_cuda
def test_compiled_blocks_give_the_same_picture_at_any_size(plain: SdxlModel) -> None:
    others = [params(width=128), params(width=320, height=192, guidance_scale=0.0)]
    expected = [decoded(plain, asked) for asked in (params(), *others)]
    plain.unet.use(Speed(compiled=True, graphs=True))
    found = [decoded(plain, params())]
    plain.unet.freeze()
    found += [decoded(plain, asked) for asked in others]
    assert plain.unet.speed == Speed(compiled=True, graphs=True), "it fell back"
    for ours, theirs in zip(found, expected, strict=True):
        assert psnr(ours, theirs) >= SAME_PICTURE_DB


@needs_cuda
def test_a_calibrated_model_makes_the_same_pictures_and_finds_its_calibration_again(
    exact: SdxlModel, load: Load
) -> None:
    first = load(DEVICE, None)
    likeness = worst_likeness(pictures(first, CROWD), alone(exact))
    print(f"{first.unet.speed}, costs {first.costs.seconds}: {likeness:.1f} dB")
    assert likeness >= SAME_PICTURE_DB
    again = load(DEVICE, None)
    assert again.unet.speed == first.unet.speed
    assert again.costs == first.costs
    assert worst_likeness(pictures(again, CROWD), alone(exact)) >= SAME_PICTURE_DB


@needs_cuda
def test_a_capture_that_breaks_leads_back_to_plain_calls(plain: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pictures(plain, CROWD)
    call = AcceleratedUNet._call_unet  # pyright: ignore[reportPrivateUsage]

    def look(self: AcceleratedUNet, *inputs: Tensor) -> Tensor:
        output = call(self, *inputs)
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


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 320, 128, 128), (1, 128, 512, 512), (2, 96, 127, 93), (1, 64, 500_000)])
def test_split_group_normalization_is_group_normalization(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(0)
    channels = shape[1]
    # A mean that is large beside the deviation is what a careless sum of squares stumbles over.
    given = (torch.randn(shape, generator=generator, device=DEVICE) + 20).to(dtype)
    norm = SplitGroupNorm(32, channels, eps=1e-5, device=DEVICE, dtype=dtype)
    with torch.inference_mode():
        norm.weight.normal_(1, 0.3, generator=generator)
        norm.bias.normal_(0, 0.3, generator=generator)
        ours = norm(given)
        weight, bias = norm.weight.double(), norm.bias.double()
        expected = torch.nn.functional.group_norm(given.double(), 32, weight, bias, 1e-5)
        theirs = torch.nn.functional.group_norm(given, 32, norm.weight, norm.bias, 1e-5)
        again = norm(given)
    ours_off, theirs_off = ((each.double() - expected).norm() / expected.norm() for each in (ours, theirs))
    assert ours.dtype == dtype
    assert float(ours_off) <= 1.1 * float(theirs_off)
    assert torch.equal(again, ours)


# Previews


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
def test_the_published_tiny_decoder_gives_the_picture_back() -> None:
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


# Memory


class Full:
    """Leaves torch no more than it holds while it is entered."""

    def __init__(self, device: torch.device, spare: int = 0) -> None:
        self._device = device
        self._spare = spare

    def __enter__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(self._device).total_memory
        held = torch.cuda.memory_reserved(self._device) + self._spare
        torch.cuda.set_per_process_memory_fraction(held / total, self._device)

    def __exit__(self, *_error: object) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0, self._device)


def large(model: SdxlModel) -> SdxlSample:
    return model.prepare(params(width=512, height=512))[0]


@needs_cuda
def test_a_step_that_does_not_fit_is_out_of_memory_and_does_no_harm(plain: SdxlModel) -> None:
    expected = denoised(plain, params(width=512, height=512)).latents
    samples = [large(plain) for _ in range(16)]
    with Full(plain.torch_device), pytest.raises(DeviceOutOfMemoryError):
        plain.step(samples)
    assert [sample.steps_done for sample in samples] == [0] * 16
    plain.release_memory()
    sample = samples[0]
    while sample.steps_done < sample.total_steps:
        plain.step([sample])
    assert torch.equal(sample.latents, expected)


@needs_cuda
def test_a_size_that_leaves_no_room_for_its_graph_runs_without(
    plain: SdxlModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = denoised(plain, params(width=512, height=512)).latents
    captures: list[Graphs] = []
    capture = Graphs._capture  # pyright: ignore[reportPrivateUsage]

    def capture_in_vain(self: Graphs, *arguments: Any) -> Any:
        captures.append(self)
        with Full(plain.torch_device, spare=4 << 20):
            return capture(self, *arguments)

    monkeypatch.setattr(Graphs, "_capture", capture_in_vain)
    plain.unet.use(Speed(graphs=True))
    sample = large(plain)
    while sample.steps_done < sample.total_steps:
        plain.step([sample])
    assert torch.equal(sample.latents, expected)
    assert plain.unet.speed == Speed(graphs=True), "it fell back"
    assert len(captures) == 1


# The whole worker


def test_a_worker_serves_pictures_and_previews_and_stops_at_once(tmp_path: Path) -> None:
    with real_worker(tmp_path, str(DEMO), tmp_path, DEVICE) as worker:
        ready = worker.until("ready")[-1][0]
        assert ready["device"]["id"] == DEVICE
        worker.send(a_picture(incarnation=INCARNATION, preview=a_plan()))
        messages = worker.until("result")
        assert [header["type"] for header, _ in messages].count("preview") == 8
        assert len(messages[-1][1][0]) == 256 * 256 * 3
        worker.send(a_picture("left", incarnation=INCARNATION, num_inference_steps=50))
        worker.until("progress")
        worker.send(Cancel(job_id="left", incarnation=INCARNATION))
        after = [header["type"] for header, _ in worker.until("cancelled")]
        assert after.count("progress") < 10
        worker.send(Shutdown())
        assert worker.exit_code() == 0
