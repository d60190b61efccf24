"""Shortcuts change the picture only as they say, only when they are named, and each picture only by its own doing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.callbacks import SDXLCFGCutoffCallback
from torch import Tensor

from latentcast_worker.model.acceleration import AcceleratedUNet
from latentcast_worker.model.deepcache import DeepCache
from latentcast_worker.model.port import DeviceOutOfMemoryError
from latentcast_worker.model.schedulers import make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.shortcuts import CFG_CUTOFF_RATIO
from latentcast_worker.protocol import SCHEDULER_NAMES, SchedulerName
from latentcast_worker.settings import ShortcutName

from .loading import load_model, reporter_to
from .reference import by_pipeline, denoised
from .requests import a_params


def load_with(folder: Path, cache_dir: Path, *names: ShortcutName) -> SdxlModel:
    return load_model(folder, cache_dir, shortcuts=names)


@pytest.fixture(scope="module")
def cut_off(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SdxlModel:
    return load_with(tiny_folder, tmp_path_factory.mktemp("cache"), "cfg-cutoff")


@pytest.fixture(scope="module")
def cached(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SdxlModel:
    return load_with(tiny_folder, tmp_path_factory.mktemp("cache"), "step-cache")


@pytest.fixture(scope="module")
def few_step(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SdxlModel:
    return load_with(tiny_folder, tmp_path_factory.mktemp("cache"), "few-step")


class CountingUNet:
    """A UNet that notes the rows of its calls, and runs out of memory when it is told to."""

    def __init__(self, unet: AcceleratedUNet) -> None:
        self._unet = unet
        self.module_for = unet.module_for
        self.rows: list[int] = []
        self.has_memory = True

    def __call__(self, *inputs: Tensor, **options: Any) -> Tensor:
        if not self.has_memory:
            raise DeviceOutOfMemoryError
        self.rows.append(inputs[0].shape[0])
        return self._unet(*inputs, **options)


def counted(model: SdxlModel) -> tuple[SdxlModel, CountingUNet]:
    """The same model, with whole calls of its UNet counted."""
    unet: Any = CountingUNet(model.unet)
    cache = None if model.deepcache is None else DeepCache(unet)
    return replace(model, unet=unet, deepcache=cache), unet


@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_cut_off_image_is_that_of_diffusers_own_callback(
    pipeline: Any, cut_off: SdxlModel, scheduler: SchedulerName | None, steps: int
) -> None:
    params = a_params(scheduler=scheduler, num_inference_steps=steps, guidance_scale=5.0)
    expected = by_pipeline(
        pipeline,
        params,
        make_scheduler(pipeline.own_scheduler, scheduler),
        callback_on_step_end=SDXLCFGCutoffCallback(cutoff_step_ratio=CFG_CUTOFF_RATIO),
        output_type="latent",
    )
    assert torch.equal(denoised(cut_off, params).latents, expected)


def test_after_the_cut_off_calls_are_half_as_wide(cut_off: SdxlModel) -> None:
    model, unet = counted(cut_off)
    denoised(model, a_params(num_inference_steps=5))
    assert unet.rows == [2, 2, 2, 1, 1]


@torch.inference_mode()
def test_outer_layers_on_features_of_the_same_step_give_the_whole_unets_prediction(cached: SdxlModel) -> None:
    cache = cached.deepcache
    assert cache is not None
    (sample,) = cached.prepare(a_params())
    conditioning = sample.conditioning
    inputs = (
        sample.run.model_input(sample.latents, 0).expand(2, -1, -1, -1),
        sample.timesteps[0].expand(2),
        conditioning.tokens,
        conditioning.pooled,
        conditioning.time_ids,
    )
    noise, deep = cache.whole(inputs)
    assert torch.equal(noise, cached.unet(*inputs))
    assert torch.equal(cache.outer(inputs, deep), noise)
    assert not torch.equal(cache.outer(inputs, deep + 1), noise)


@pytest.mark.parametrize(("steps", "whole_calls"), [(1, 1), (4, 2), (5, 3)])
def test_deepcache_calls_the_whole_unet_at_every_second_step(
    cached: SdxlModel, tiny_model: SdxlModel, steps: int, whole_calls: int
) -> None:
    model, unet = counted(cached)
    params = a_params(num_inference_steps=steps)
    shortened, plain = denoised(model, params), denoised(tiny_model, params)
    assert len(unet.rows) == whole_calls
    assert torch.equal(shortened.latents, plain.latents) == (steps == 1)


def test_samples_at_different_places_of_the_cache_share_a_step_and_keep_their_bits(cached: SdxlModel) -> None:
    both = [a_params(seed=seed, num_inference_steps=5) for seed in (1, 2)]
    alone = [denoised(cached, params).latents for params in both]
    ahead, behind = (cached.prepare(params)[0] for params in both)
    cached.step([ahead])
    while ahead.steps_done < ahead.total_steps:
        cached.step([behind, ahead])
    cached.step([behind])
    # Two rows are summed in another order than four: rounding, and nothing else.
    torch.testing.assert_close(ahead.latents, alone[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(behind.latents, alone[1], rtol=1e-3, atol=1e-3)


def test_a_step_that_ran_out_of_memory_leaves_the_cache_as_it_was(cached: SdxlModel) -> None:
    params = a_params(num_inference_steps=4)
    model, unet = counted(cached)
    (sample,) = model.prepare(params)
    while sample.steps_done < sample.total_steps:
        unet.has_memory = False
        if sample.deep is None:
            with pytest.raises(DeviceOutOfMemoryError):
                model.step([sample])
        unet.has_memory = True
        model.step([sample])
    assert torch.equal(sample.latents, denoised(cached, params).latents)


def test_shortcuts_go_together(tiny_folder: Path, tmp_path: Path) -> None:
    model, unet = counted(load_with(tiny_folder, tmp_path, "cfg-cutoff", "step-cache"))
    sample = denoised(model, a_params(num_inference_steps=7))
    # Guidance ends after three steps; the fourth has the deep features of the third's positive row.
    assert unet.rows == [2, 2, 1, 1]
    assert torch.isfinite(sample.latents).all()


def test_a_few_step_checkpoint_gets_its_own_defaults(few_step: SdxlModel, tiny_model: SdxlModel) -> None:
    assert (few_step.info.default_steps, few_step.info.default_guidance_scale) == (4, 0.0)
    assert tiny_model.info.default_guidance_scale > 1


@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
def test_few_steps_start_at_the_very_end_of_the_schedule(
    pipeline: Any, few_step: SdxlModel, scheduler: SchedulerName | None
) -> None:
    params = a_params(scheduler=scheduler, num_inference_steps=4, guidance_scale=0.0)
    own = type(pipeline.own_scheduler).from_config(pipeline.own_scheduler.config, timestep_spacing="trailing")
    expected = by_pipeline(pipeline, params, make_scheduler(own, scheduler), output_type="latent")
    sample = denoised(few_step, params)
    assert int(sample.timesteps[0]) == 999
    assert torch.equal(sample.latents, expected)


def test_the_log_names_what_changes_the_images(tiny_folder: Path, tmp_path: Path) -> None:
    logged: list[str] = []
    load_model(tiny_folder, tmp_path, shortcuts=("step-cache", "cfg-cutoff"), reporter=reporter_to(logged))
    assert any("cfg-cutoff, step-cache" in line for line in logged)
