"""Is the shipped demo model any good? Plain image statistics answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from numpy.typing import NDArray

from training.autoencoder import to_pixels
from training.export import engine_vocabulary
from training.judge import CASES
from training.scenes.draw import draw_scene
from training.scenes.spec import random_spec
from training.sheet import DEFAULT_NEGATIVE, sample

MODEL = Path(__file__).parents[2] / "models" / "demo"
WEIGHTS_LIMIT_BYTES = 30_000_000


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(MODEL, torch_dtype=torch.float32)


@pytest.fixture(scope="module")
def tiny() -> AutoencoderTiny:
    return AutoencoderTiny.from_pretrained(MODEL, subfolder="tiny_vae", torch_dtype=torch.float32)


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return json.loads((MODEL / "latentcast.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def unseen() -> NDArray[np.uint8]:
    """Scenes of a seed the training never used, N x 256 x 256 x 3."""
    specs = [random_spec(np.random.default_rng((2**31, index))) for index in range(32)]
    return np.stack([draw_scene(spec, 256, 256) for spec in specs])


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean over the pictures of the peak signal-to-noise ratio in dB; values -1 to 1."""
    errors = ((first.clamp(-1, 1) - second) / 2).square().mean(dim=(1, 2, 3))
    return float((-10.0 * errors.log10()).mean())


def test_forty_prompts_show_what_was_asked_for(pipeline: StableDiffusionXLPipeline, defaults: dict[str, Any]) -> None:
    pictures = sample(
        pipeline,
        [case.prompt for case in CASES],
        range(len(CASES)),
        steps=defaults["default_steps"],
        guidance=defaults["default_guidance_scale"],
    )
    wrong = {}
    for case, picture in zip(CASES, pictures, strict=True):
        if failures := case.failures(picture):
            wrong[case.prompt] = failures
    assert len(CASES) >= 40
    assert len(wrong) <= 0.1 * len(CASES), wrong


def test_a_seed_repeats_and_two_seeds_differ(pipeline: StableDiffusionXLPipeline) -> None:
    prompt = "a beautiful sunset"
    first, again, other = sample(pipeline, [prompt] * 3, [1, 1, 2], steps=6)
    alone = sample(pipeline, [prompt], [1], steps=6)[0]
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - alone).max() <= 2
    assert np.abs(first.astype(float) - other).mean() > 4.0


@pytest.mark.parametrize(("height", "width"), [(192, 192), (256, 384), (384, 256)])
def test_other_sizes_look_sane(pipeline: StableDiffusionXLPipeline, height: int, width: int) -> None:
    picture = sample(pipeline, ["sea at noon, clear sky"], [3], height=height, width=width)[0]
    assert picture.shape == (height, width, 3)
    case = next(case for case in CASES if case.prompt == "sea at noon, clear sky")
    assert case.failures(picture) == []


@torch.no_grad()
def test_unseen_scenes_survive_the_round_trip(
    pipeline: StableDiffusionXLPipeline, tiny: AutoencoderTiny, unseen: NDArray[np.uint8]
) -> None:
    pixels, vae = to_pixels(unseen), pipeline.vae
    decoder = cast(Any, tiny)  # diffusers' annotations know only half of what it returns.
    full_outputs, tiny_outputs = [], []
    for chunk in pixels.split(8):
        latents = vae.encode(chunk).latent_dist.mean
        full_outputs.append(vae.decode(latents).sample)
        tiny_outputs.append(decoder.decode(latents * vae.config.scaling_factor / decoder.config.scaling_factor).sample)
    assert psnr(torch.cat(full_outputs), pixels) >= 28.0
    assert psnr(torch.cat(tiny_outputs), pixels) >= 25.0


@torch.no_grad()
def test_scaled_latents_have_unit_variance(pipeline: StableDiffusionXLPipeline, unseen: NDArray[np.uint8]) -> None:
    vae = pipeline.vae
    scaled = vae.encode(to_pixels(unseen)).latent_dist.mean * vae.config.scaling_factor
    assert 0.7 < float(scaled.std()) < 1.4


@torch.no_grad()
def test_the_linear_preview_resembles_the_image(
    pipeline: StableDiffusionXLPipeline, defaults: dict[str, Any], unseen: NDArray[np.uint8]
) -> None:
    vae, pixels = pipeline.vae, to_pixels(unseen[:8])
    scaled = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    weights, bias = (torch.tensor(defaults["latent_rgb"][name]) for name in ("weights", "bias"))
    colours = torch.einsum("nchw,cr->nrhw", scaled, weights) + bias[None, :, None, None]
    assert psnr(colours, torch.nn.functional.avg_pool2d(pixels, 8)) > 20.0


def test_x0_previews_become_recognisable_before_noisy_latents_do(pipeline: StableDiffusionXLPipeline) -> None:
    """The whole argument for previews of the x0 estimate, on this model."""
    prompts = [case.prompt for case in CASES[:6]]
    noisy: list[torch.Tensor] = []
    clean: list[torch.Tensor] = []
    step = pipeline.scheduler.step

    def watched(output: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor, **options: Any) -> Any:
        result = step(output, timestep, latents, **{**options, "return_dict": True})
        noisy.append(result.prev_sample.flatten(1))
        clean.append(result.pred_original_sample.flatten(1))
        return (result.prev_sample,)

    pipeline.scheduler.step = watched
    try:
        pipeline(
            prompt=prompts,
            negative_prompt=[DEFAULT_NEGATIVE] * len(prompts),
            height=256,
            width=256,
            num_inference_steps=20,
            guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
            output_type="latent",
        )
    finally:
        pipeline.scheduler.step = step
    final, at = noisy[-1], 20 * 3 // 10 - 1
    x0 = torch.cosine_similarity(clean[at], final).mean()
    latents = torch.cosine_similarity(noisy[at], final).mean()
    assert x0 > 0.8
    assert x0 > latents + 0.1


def test_words_it_does_not_know_do_no_harm(pipeline: StableDiffusionXLPipeline) -> None:
    plain = "sunset over the sea"
    decorated = [
        "sunset over the sea, 4k, highly detailed",
        "qzxv sunset over the sea 日本 🌅",
        "SUNSET over the sea!!!",
    ]
    case = next(case for case in CASES if case.prompt == "a beautiful sunset")
    pictures = sample(pipeline, [plain, *decorated, ""], [5] * 5)
    assert all(case.failures(picture) == [] for picture in pictures[:4])
    assert pictures[4].std() > 5.0


def test_the_weights_fit_into_a_clone() -> None:
    files = list(MODEL.rglob("*.safetensors"))
    assert {"unet", "vae", "tiny_vae", "text_encoder", "text_encoder_2"} == {file.parent.name for file in files}
    assert sum(file.stat().st_size for file in files) <= WEIGHTS_LIMIT_BYTES


def test_the_folder_says_how_to_run_it(defaults: dict[str, Any]) -> None:
    assert defaults["native_size"] == [256, 256]
    assert defaults["min_size"] <= 192
    assert defaults["max_size"] >= 384
    assert (MODEL / defaults["tiny_vae"] / "config.json").exists()
    assert len(defaults["examples"]) == 8


def test_the_folder_says_what_the_model_knows(defaults: dict[str, Any]) -> None:
    assert defaults["vocabulary"] == engine_vocabulary()
    assert all(subject == subject.lower() for subject in defaults["vocabulary"]["subjects"])
