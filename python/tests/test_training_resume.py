from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from torch import nn

from training.autoencoder import SCALING_FACTOR, make_autoencoder, scaled_latents, to_pixels, train_decoder
from training.checkpoint import Machine, learning_rate, load_checkpoint, save_checkpoint
from training.config import AutoencoderRecipe, Bucket, DiffusionRecipe, Recipe
from training.dataset import draw_all, load_pictures
from training.diffusion import train_diffusion
from training.export import export_model
from training.latents import encode_all
from training.parallel import GradientPool, part_slices
from training.sheet import sample
from training.tiny import train_tiny
from training.tokenizer import write_tokenizer

MACHINE = Machine(torch.device("cpu"), is_bfloat16=False, workers=2)

MICRO = Recipe(
    seed=5,
    buckets=(Bucket(64, 64, 12), Bucket(64, 128, 6)),
    degraded=4,
    autoencoder=AutoencoderRecipe(
        channels=(16, 16, 16, 16),
        tiny_channels=8,
        tiny_decoder_blocks=(1, 1, 0, 0),
        crop=64,
        batch=2,
        steps=4,
        tiny_steps=4,
        learning_rate=1e-3,
        tiny_learning_rate=1e-3,
        latent_noise=0.03,
    ),
    diffusion=DiffusionRecipe(
        channels=(16, 32, 32),
        transformer_layers=(1, 1, 1),
        groups=8,
        head_channels=16,
        text_width=32,
        text_layers=2,
        batch=4,
        steps=5,
        quarter_steps=1,
        half_steps=1,
        learning_rate=1e-3,
        warmup=2,
        ema=0.9,
        min_snr=5.0,
        snr_floor=0.1,
        offset_noise=0.05,
        square_share=0.5,
    ),
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn scenes and their latents."""
    folder = tmp_path_factory.mktemp("run")
    draw_all(MICRO, folder, processes=1)
    encode_all(MICRO, folder, make_autoencoder(MICRO, folder))
    return folder


def copy_of(folder: Path, target: Path, pattern: str) -> Path:
    target.mkdir()
    for file in folder.glob(pattern):
        (target / file.name).symlink_to(file)
    return target


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)


def test_an_interrupted_decoder_run_ends_with_the_same_weights(run_folder: Path, tmp_path: Path) -> None:
    straight = copy_of(run_folder, tmp_path / "straight", "scenes-*.npy")
    halted = copy_of(run_folder, tmp_path / "halted", "scenes-*.npy")
    whole = train_decoder(MICRO, straight, MACHINE)
    train_decoder(MICRO, halted, MACHINE, until=2)
    assert_same_weights(whole, train_decoder(MICRO, halted, MACHINE))


def test_an_interrupted_diffusion_run_ends_with_the_same_weights(run_folder: Path, tmp_path: Path) -> None:
    straight = copy_of(run_folder, tmp_path / "straight", "latents-*.npy")
    halted = copy_of(run_folder, tmp_path / "halted", "latents-*.npy")
    whole = train_diffusion(MICRO, straight, MACHINE)
    train_diffusion(MICRO, halted, MACHINE, until=3)
    assert_same_weights(whole, train_diffusion(MICRO, halted, MACHINE))


def test_drawing_again_keeps_what_is_there(run_folder: Path) -> None:
    before = (run_folder / "scenes-64x64.npy").stat().st_mtime_ns
    draw_all(MICRO, run_folder, processes=1)
    assert (run_folder / "scenes-64x64.npy").stat().st_mtime_ns == before
    assert load_pictures(run_folder, MICRO.buckets[1]).shape == (6, 64, 128, 3)


@torch.no_grad()
def test_the_encoder_is_what_the_short_way_says(run_folder: Path) -> None:
    model = cast(Any, make_autoencoder(MICRO, run_folder))  # diffusers' annotations know only half of what it returns.
    pixels = to_pixels(load_pictures(run_folder, MICRO.buckets[0]))
    latents = model.encode(pixels).latent_dist.mean * SCALING_FACTOR
    assert torch.allclose(latents, scaled_latents(model, pixels), atol=0.02)
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.02)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.tensor([1.0, 1.0, 1.0, 0.7]), atol=0.03)


@torch.no_grad()
def test_an_untrained_decoder_already_shows_thumbnails(run_folder: Path) -> None:
    model = cast(Any, make_autoencoder(MICRO, run_folder))  # diffusers' annotations know only half of what it returns.
    pixels = to_pixels(load_pictures(run_folder, MICRO.buckets[0]))
    output = model.decode(model.encode(pixels).latent_dist.mean).sample
    thumbnails, wanted = (torch.nn.functional.avg_pool2d(picture, 8) for picture in (output, pixels))
    assert float((thumbnails - wanted).abs().mean()) < 0.05


@pytest.mark.parametrize("workers", [1, 3])
def test_gradients_do_not_depend_on_the_number_of_threads(workers: int) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Linear(5, 3), torch.randn(8, 5)
    parts = part_slices(8, 3)
    with GradientPool(model, workers) as pool:
        loss = pool.run(
            lambda index: model(inputs[parts[index]]).square().mean(), [len(inputs[rows]) / 8 for rows in parts]
        )
    whole = model(inputs).square().mean()
    (wanted,) = torch.autograd.grad(whole, [model.weight])
    assert loss == pytest.approx(float(whole.detach()), rel=1e-5)
    assert model.weight.grad is not None
    assert torch.allclose(model.weight.grad, wanted, atol=1e-6)


def test_the_exported_folder_loads_as_sdxl_and_samples(run_folder: Path, tmp_path: Path) -> None:
    vae = train_decoder(MICRO, run_folder, MACHINE)
    tiny = train_tiny(MICRO, run_folder, MACHINE, vae)
    networks = train_diffusion(MICRO, run_folder, MACHINE)
    pictures = np.array(load_pictures(run_folder, MICRO.buckets[0]))
    target = tmp_path / "model"
    export_model(target, networks, vae, tiny, write_tokenizer(tmp_path / "tokenizer"), pictures)
    pipeline = StableDiffusionXLPipeline.from_pretrained(target, torch_dtype=torch.float32)
    picture = sample(pipeline, ["a red boat"], [1], height=64, width=64, steps=2)[0]
    assert picture.shape == (64, 64, 3)
    small = cast(Any, AutoencoderTiny.from_pretrained(target, subfolder="tiny_vae", torch_dtype=torch.float32))
    assert small.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)
    defaults = json.loads((target / "latentcast.json").read_text(encoding="utf-8"))
    assert defaults["native_size"] == [256, 256]
    assert np.shape(defaults["latent_rgb"]["weights"]) == (4, 3)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"step": 7})
    assert load_checkpoint(path) == {"step": 7}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(step, 100, 1.0, warmup=10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[-1] < 0.03
