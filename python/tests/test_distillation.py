"""Models made for few steps are known for what they are, and sampled as diffusers samples them when told how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from latentcast_worker.model.distillation import PLAIN, Sampling, recognise, sampling_of
from latentcast_worker.model.families import Family
from latentcast_worker.model.port import InvalidRequestError
from latentcast_worker.model.schedulers import SchedulerRun, make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import FewStepKind, SchedulerName

from .loading import load_model
from .reference import by_pipeline, denoised
from .requests import a_params
from .tiny_checkpoint import SCHEDULER_CONFIG, TinyCheckpoint, build_folder, ready_pipeline, write_file

EULER = "EulerDiscreteScheduler"


@pytest.mark.parametrize(
    ("name", "family", "scheduler", "steps", "guidance_scale"),
    [
        ("sd_xl_base_1.0.safetensors", None, None, 20, 5.0),
        ("hyperrealism_xl.safetensors", None, None, 20, 5.0),
        ("stable-diffusion-xl-base-1.0", None, None, 20, 5.0),
        ("sdxl_lightning_2step.safetensors", "lightning", "euler", 2, 0.0),
        ("sdxl_lightning_8step_unet", "lightning", "euler", 8, 0.0),
        ("juggernautXL_v9Rdphoto2Lightning.safetensors", "lightning", "euler", 4, 0.0),
        ("sdxl-turbo", "turbo", "euler_a", 4, 0.0),
        ("DreamShaperXL_Turbo_v2_1.safetensors", "turbo", "euler_a", 4, 0.0),
        ("Hyper-SDXL-4steps-model", "hyper", "ddim", 4, 0.0),
        ("realvis_hyper.safetensors", "hyper", "ddim", 8, 0.0),
        ("Hyper-SDXL-12steps-CFG-merge.safetensors", "hyper", "ddim", 12, 5.0),
        ("dmd2_sdxl_4step.safetensors", "dmd2", "lcm", 4, 0.0),
        ("lcm-sdxl", "lcm", "lcm", 4, 1.0),
        ("ponyXL_LCM_8steps.safetensors", "lcm", "lcm", 8, 1.0),
        ("sdxl-tcd", "tcd", "tcd", 4, 0.0),
    ],
)
def test_a_model_is_known_by_its_name(
    name: str, family: Family | None, scheduler: SchedulerName | None, steps: int, guidance_scale: float
) -> None:
    found = recognise(name, EULER, guided_inside=False)
    assert (found.family, found.scheduler, found.steps, found.guidance_scale) == (
        family,
        scheduler,
        steps,
        guidance_scale,
    )


@pytest.mark.parametrize(
    ("name", "scheduler", "guided_inside", "family", "guidance_scale"),
    [
        ("model", "LCMScheduler", False, "lcm", 1.0),
        ("model-dmd2", "LCMScheduler", False, "dmd2", 0.0),
        ("model", "TCDScheduler", False, "tcd", 0.0),
        ("model", EULER, True, "lcm", 8.0),
    ],
)
def test_a_model_is_known_by_its_scheduler_and_its_unet(
    name: str, scheduler: str, guided_inside: bool, family: Family, guidance_scale: float
) -> None:
    found = recognise(name, scheduler, guided_inside=guided_inside)
    assert (found.family, found.guidance_scale) == (family, guidance_scale)


def test_only_one_step_lightning_predicts_the_image_itself() -> None:
    assert sampling_of("lightning", "sdxl_lightning_1step_x0").options["prediction_type"] == "sample"
    assert "prediction_type" not in sampling_of("lightning", "sdxl_lightning_2step").options


def test_dmd2_has_the_timesteps_of_its_training() -> None:
    assert sampling_of("dmd2", "").timesteps(4) == [999, 749, 499, 249]


def load(tiny: TinyCheckpoint, model: Path, cache_dir: Path, **options: Any) -> SdxlModel:
    return load_model(model, cache_dir, configs=tiny.folder, **options)


# What each family's card says, in diffusers' words.
CARDS: dict[Family, tuple[type[Any], dict[str, Any], dict[str, Any]]] = {
    "lightning": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}, {}),
    "hyper": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing"}, {}),
    "turbo": (diffusers.EulerAncestralDiscreteScheduler, {"timestep_spacing": "trailing"}, {}),
    "dmd2": (diffusers.LCMScheduler, {}, {"timesteps": [999, 749, 499, 249]}),
    "lcm": (diffusers.LCMScheduler, {}, {}),
    "tcd": (diffusers.TCDScheduler, {}, {"eta": 0.3}),
}


@pytest.mark.parametrize("guidance_scale", [None, 2.0])
@pytest.mark.parametrize("family", CARDS)
def test_a_file_is_sampled_as_its_card_says(
    tiny: TinyCheckpoint, tmp_path: Path, family: Family, guidance_scale: float | None
) -> None:
    model = load(tiny, write_file(tmp_path / f"some_{family}_4step.safetensors", tiny.tensors), tmp_path)
    info = model.info
    assert info.default_scheduler == sampling_of(family, "").scheduler
    assert info.default_steps == 4
    scale = info.default_guidance_scale if guidance_scale is None else guidance_scale
    kind, options, call_options = CARDS[family]
    scheduler = kind.from_config(SCHEDULER_CONFIG, **options)
    request = a_params(num_inference_steps=4, guidance_scale=scale)
    expected = by_pipeline(tiny.pipeline, request, scheduler, output_type="latent", **call_options)
    assert torch.isfinite(expected).all()
    assert torch.equal(denoised(model, request).latents, expected)
    # Naming the scheduler that a model has anyway changes nothing.
    assert torch.equal(denoised(model, replace(request, scheduler=info.default_scheduler)).latents, expected)


def test_the_setting_outranks_the_name(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "some_lightning.safetensors", tiny.tensors)
    assert load(tiny, file, tmp_path, distillation="none").sampling == PLAIN
    assert load(tiny, file, tmp_path, distillation="lcm").sampling.family == "lcm"


def test_a_name_inside_the_file_counts(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", tiny.tensors, {"modelspec.title": "Some XL Lightning 8-step"})
    sampling = load(tiny, file, tmp_path).sampling
    assert (sampling.family, sampling.steps) == ("lightning", 8)


def test_a_models_own_settings_outrank_its_name(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-turbo").symlink_to(tiny_folder)
    info = load_model(tmp_path / "tiny-turbo", tmp_path).info
    assert (info.default_scheduler, info.default_steps, info.default_guidance_scale) == ("euler_a", 20, 5.0)


# UNets with guidance inside


@pytest.fixture(scope="module")
def guided_inside(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyCheckpoint, SdxlModel]:
    folder = tmp_path_factory.mktemp("lcm") / "folder"
    build_folder(folder, tiny_folder, time_cond_proj_dim=31)
    pipeline: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    checkpoint = TinyCheckpoint(folder, {}, ready_pipeline(pipeline))
    return checkpoint, load(checkpoint, folder, folder.parent)


@pytest.mark.parametrize("scheduler", [None, "lcm", "euler"])
@pytest.mark.parametrize("guidance_scale", [1.0, 8.0])
def test_a_unet_with_guidance_inside_makes_the_pipelines_image(
    guided_inside: tuple[TinyCheckpoint, SdxlModel], scheduler: SchedulerName | None, guidance_scale: float
) -> None:
    checkpoint, model = guided_inside
    request = a_params(scheduler=scheduler, guidance_scale=guidance_scale)
    own = make_scheduler(checkpoint.pipeline.own_scheduler, scheduler or "lcm")
    expected = by_pipeline(checkpoint.pipeline, request, own, output_type="latent")
    sample = denoised(model, request)
    assert sample.conditioning.tokens.shape[0] == 1
    assert torch.equal(sample.latents, expected)


def test_such_images_share_a_call_whatever_their_guidance(
    guided_inside: tuple[TinyCheckpoint, SdxlModel],
) -> None:
    model = replace(guided_inside[1], costs=CallCosts((1.0, 1.0)))
    requests = [a_params(guidance_scale=1.0), a_params(guidance_scale=8.0, seed=9)]
    together = [sample for request in requests for sample in model.prepare(request)]
    for _ in range(4):
        model.step(together)
    for sample, request in zip(together, requests, strict=True):
        torch.testing.assert_close(sample.latents, denoised(model, request).latents, rtol=1e-3, atol=1e-3)


# Schedulers of consistency models


@pytest.mark.parametrize("name", ["lcm", "tcd"])
def test_more_steps_than_a_scheduler_has_are_refused(tiny_model: SdxlModel, name: SchedulerName) -> None:
    tiny_model.check(a_params(scheduler=name, num_inference_steps=50))
    with pytest.raises(InvalidRequestError, match="num_inference_steps 51 is more than the 50"):
        tiny_model.check(a_params(scheduler=name, num_inference_steps=51))


@pytest.mark.parametrize("name", ["ddim", "tcd"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_x0_is_the_clean_image_that_a_step_predicts(name: SchedulerName, prediction_type: str) -> None:
    own: Any = diffusers.EulerDiscreteScheduler.from_config(SCHEDULER_CONFIG)
    scheduler = make_scheduler(own, name)
    scheduler = type(scheduler).from_config(scheduler.config, prediction_type=prediction_type)
    generator = torch.Generator().manual_seed(1)
    run = SchedulerRun.start(scheduler, 4, generator)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
    for step in range(4):
        alpha = scheduler.alphas_cumprod[run.timesteps[step]]
        latents = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
        predicted = {
            "epsilon": noise,
            "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean,
            "sample": clean,
        }
        _, x0 = run.advance(predicted[prediction_type], latents, step)
        torch.testing.assert_close(x0, clean, rtol=1e-3, atol=1e-3)


def test_a_plain_model_is_described_by_no_family() -> None:
    assert str(Sampling("lcm", "lcm", 4, 1.0, {})) == "lcm: lcm, 4 steps, no guidance"


@pytest.mark.parametrize(
    ("family", "scheduler", "timesteps"),
    [
        ("lightning", "euler", [999, 749, 499, 249]),
        ("hyper", "ddim", [999, 749, 499, 249]),
        ("turbo", "euler_a", [999, 749, 499, 249]),
        ("dmd2", "lcm", [999, 749, 499, 249]),
        ("lcm", "lcm", [999, 759, 499, 259]),
        (None, "euler", [751, 501, 251, 1]),
    ],
)
def test_a_lora_for_few_steps_brings_its_timesteps(
    tiny_model: SdxlModel, family: FewStepKind | None, scheduler: SchedulerName, timesteps: list[int]
) -> None:
    params = a_params(num_inference_steps=4, scheduler=scheduler, distillation=family, guidance_scale=0.0)
    (sample,) = tiny_model.prepare(params)
    assert sample.run.timesteps.tolist() == timesteps
    for _ in range(4):
        tiny_model.step([sample])
    assert tiny_model.decode(sample).std() > 0
