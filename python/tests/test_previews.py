"""What previews show: predicted pictures, by both decoders, in the asked size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor

from latentcast_worker.model.decode import FullDecoder, InlinePreviews, PreviewRenderer, to_rgb8
from latentcast_worker.model.port import NumericalError, Pixels
from latentcast_worker.model.schedulers import SchedulerRun, make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import SDXL_LATENT_RGB
from latentcast_worker.protocol import SCHEDULER_NAMES, SchedulerName

from .requests import a_params, a_plan

# The folder of the published decoder, for who has it.
TAESDXL = Path(os.environ.get("LATENTCAST_TEST_TAESDXL") or "/nonexistent")
CPU = torch.device("cpu")


def psnr(first: NDArray[Any], second: NDArray[Any]) -> float:
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def downscaled(pixels: NDArray[np.uint8], factor: int) -> NDArray[Any]:
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    return pixels.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))


def preview(model: SdxlModel, **plan: Any) -> Sequence[Pixels]:
    samples = model.prepare(a_params(width=128, height=64))
    model.step(samples)
    return model.start_preview(samples, a_plan(**plan)).wait()


@pytest.mark.parametrize(
    ("plan", "size"),
    [
        ({"decoder": "tae"}, (64, 128)),
        ({"decoder": "tae", "max_side": 128}, (64, 128)),
        ({"decoder": "tae", "max_side": 64}, (32, 64)),
        ({"decoder": "tae", "max_side": 1}, (1, 1)),
        ({"decoder": "tae", "max_side": 2048}, (64, 128)),
        ({"decoder": "linear"}, (8, 16)),
        ({"decoder": "linear", "max_side": 8}, (4, 8)),
        ({"decoder": "linear", "max_side": 100}, (8, 16)),
    ],
)
def test_previews_have_the_size_that_was_asked_for(
    tiny_model: SdxlModel, plan: dict[str, Any], size: tuple[int, int]
) -> None:
    (pixels,) = preview(tiny_model, **plan)
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8


def test_a_job_with_several_images_has_one_preview_of_each(tiny_model: SdxlModel) -> None:
    samples = tiny_model.prepare(a_params(num_images=2))
    tiny_model.step(samples)
    both = tiny_model.start_preview(samples, a_plan(decoder="linear")).wait()
    alone = [tiny_model.start_preview([sample], a_plan(decoder="linear")).wait()[0] for sample in samples]
    np.testing.assert_array_equal(both, alone)
    assert not np.array_equal(alone[0], alone[1])


def test_levels_are_rounded_and_clamped() -> None:
    levels = torch.tensor([-2.55, 0.0, 1.4, 1.6, 127.5, 254.4, 254.6, 300.0]) / 127.5 - 1
    assert to_rgb8(levels.view(1, 1, 1, 8).expand(1, 3, 1, 8))[0, 0, :, 0].tolist() == [0, 0, 1, 2, 128, 254, 255, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_an_error(tiny_model: SdxlModel, value: float) -> None:
    samples = tiny_model.prepare(a_params())
    tiny_model.step(samples)
    samples[0].latents = samples[0].latents.clone()
    samples[0].latents[0, 0, 0, 0] = value
    with pytest.raises(NumericalError):
        tiny_model.start_preview(samples, a_plan(source="latents", decoder="linear")).wait()
    with pytest.raises(NumericalError):
        tiny_model.decode(samples[0])


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_x0_of_an_oracle_is_the_image_itself(tiny_model: SdxlModel, scheduler: SchedulerName) -> None:
    """A model that knows the noise predicts the clean latents at every step, in every scheduler's scale."""
    clean = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    for x0, _visible in oracle_run(tiny_model.scheduler, scheduler, clean, steps=10):
        torch.testing.assert_close(x0, clean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_noisy_latents_are_shown_in_the_range_of_an_image(tiny_model: SdxlModel, scheduler: SchedulerName) -> None:
    clean = torch.randn((1, 4, 32, 32), generator=torch.Generator().manual_seed(1))
    for _x0, visible in oracle_run(tiny_model.scheduler, scheduler, clean, steps=10):
        assert 0.5 < float(visible.std()) < 1.5


def oracle_run(own: Any, name: SchedulerName, clean: Tensor, steps: int) -> Sequence[tuple[Tensor, Tensor]]:
    run = SchedulerRun.start(make_scheduler(own, name), steps, torch.Generator().manual_seed(0))
    alphas = own.alphas_cumprod
    start = alphas[int(run.timesteps[0])]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    in_sigma_space = name in ("euler", "euler_a")
    sample = start**0.5 * clean + (1 - start) ** 0.5 * noise
    if in_sigma_space:
        sample = sample / start**0.5
    seen: list[tuple[Tensor, Tensor]] = []
    for step in range(steps):
        # Noise levels may lie between the trained ones (Karras), so those who have their own list are asked.
        alpha = alphas[int(run.timesteps[step])]
        sigma = ((1 - alpha) / alpha) ** 0.5 if name in ("ddim", "lcm", "tcd") else run.scheduler.sigmas[step]
        scale = 1 if in_sigma_space else (sigma**2 + 1) ** 0.5
        sample, x0 = run.advance((scale * sample - clean) / sigma, sample, step)
        seen.append((x0, run.visible(sample)))
    return seen


def a_scene(side: int) -> NDArray[np.uint8]:
    """A picture with what photographs have: a sky, a sun, a sea with waves, a dark shore and a little grain."""
    rows, columns = (axis / side for axis in np.mgrid[0:side, 0:side])
    grain = np.random.default_rng(0).normal(0, 2, (side, side, 1))
    sky = np.stack([200 - 60 * rows, 120 + 60 * rows, 90 + 110 * rows], axis=-1)
    sun = np.exp(-((rows - 0.35) ** 2 + (columns - 0.6) ** 2) / 0.006)[..., None] * np.array([70, 90, 30])
    waves = np.sin(90 * rows + 6 * np.sin(9 * columns)) * 12
    sea = np.stack([40 + waves, 80 + waves, 120 + waves], axis=-1)
    shore = np.array([35, 30, 25])
    picture = np.where((rows < 0.55)[..., None], sky + sun, sea)
    picture = np.where((rows > 0.8 + 0.05 * np.sin(7 * columns))[..., None], shore, picture)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


@pytest.mark.skipif(not TAESDXL.is_dir(), reason="needs published weights")
class TestWithTaesdxl:
    """The published tiny decoder, on the latents that a perfect SDXL would predict for a picture."""

    @pytest.fixture(scope="class")
    def tiny(self) -> Any:
        return AutoencoderTiny.from_pretrained(TAESDXL, torch_dtype=torch.float32).eval()

    @pytest.fixture(scope="class")
    def scene(self) -> NDArray[np.uint8]:
        return a_scene(128)

    @pytest.fixture(scope="class")
    def latents(self, tiny: Any, scene: NDArray[np.uint8]) -> Tensor:
        image = torch.from_numpy(scene).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            return tiny.encode(image).latents

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_the_preview_of_a_picture_is_the_picture(
        self, tiny: Any, scene: NDArray[np.uint8], latents: Tensor, dtype: torch.dtype
    ) -> None:
        renderer = PreviewRenderer(tiny.to(dtype), SDXL_LATENT_RGB, CPU)
        with torch.inference_mode():
            (pixels,) = InlinePreviews(renderer).start(latents, a_plan()).wait()
        assert psnr(pixels, scene) > 24

    def test_the_linear_preview_is_a_small_version_of_the_picture(
        self, tiny: Any, scene: NDArray[np.uint8], latents: Tensor
    ) -> None:
        renderer = PreviewRenderer(tiny, SDXL_LATENT_RGB, CPU)
        with torch.inference_mode():
            (pixels,) = InlinePreviews(renderer).start(latents, a_plan(decoder="linear")).wait()
        small = downscaled(scene, 8)
        assert np.corrcoef(pixels.ravel(), small.ravel())[0, 1] > 0.9

    def test_previews_come_closer_to_the_final_picture_and_reach_it(
        self, tiny: Any, tiny_model: SdxlModel, latents: Tensor
    ) -> None:
        """A model that errs less as the noise falls: x0 previews approach the picture, noisy ones show it last."""
        renderer = PreviewRenderer(tiny.float(), SDXL_LATENT_RGB, CPU)
        shown: list[tuple[float, float]] = []
        with torch.inference_mode():
            (final,) = InlinePreviews(renderer).start(latents, a_plan()).wait()
            run = SchedulerRun.start(make_scheduler(tiny_model.scheduler, "euler"), 10, torch.Generator())
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
            sample = latents + noise * run.scheduler.sigmas[0]
            blurred = torch.nn.functional.avg_pool2d(latents, 9, stride=1, padding=4)
            for step in range(10):
                sigma = run.scheduler.sigmas[step]
                known = latents.lerp(blurred, float(sigma / (sigma + 1)))
                sample, x0 = run.advance((sample - known) / sigma, sample, step)
                pictures = InlinePreviews(renderer).start(torch.cat([x0, run.visible(sample)]), a_plan()).wait()
                shown.append((psnr(pictures[0], final), psnr(pictures[1], final)))
        from_x0, from_noise = ([pair[which] for pair in shown] for which in (0, 1))
        assert from_x0 == sorted(from_x0)
        assert from_x0[-1] > 30
        assert all(x0 > noisy for x0, noisy in shown[:8])
        assert from_noise[0] < 12


def test_a_decode_in_another_scale_uses_the_models_mean_and_deviation() -> None:
    class Config:
        scaling_factor = 0.5
        latents_mean = (1.0, 2.0, 3.0, 4.0)
        latents_std = (2.0, 2.0, 2.0, 2.0)

    class Vae:
        config = Config()
        dtype = torch.float32

        def decode(self, latents: Tensor, return_dict: bool) -> tuple[Tensor]:
            assert not return_dict
            assert latents.flatten().tolist() == [5.0, 6.0, 7.0, 8.0]
            return (torch.zeros((1, 3, 8, 8)),)

    assert FullDecoder(Vae()).decode(torch.ones((1, 4, 1, 1))).shape == (8, 8, 3)
