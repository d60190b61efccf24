"""Training on from exported weights: what is drawn, what is learned, and that a stopped run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.batches import BatchMaker, Shelf
from training.checkpoint import Machine
from training.config import DEMO, Bucket
from training.networks import Networks, build_scheduler
from training.refine.evaluate import held_out_batches, held_out_losses
from training.refine.plan import CPU, CUDA, FOCUSES, Focus
from training.refine.scenes import Drawing, focus_spec, load_shelf
from training.refine.train import load_networks, train, write_model
from training.scenes.spec import random_spec
from training.tokenizer import write_tokenizer

MODEL = Path(__file__).parents[2] / "models" / "demo"
MACHINE = Machine(torch.device("cpu"), is_bfloat16=False, workers=2)
RECIPE = replace(
    DEMO.diffusion, channels=(16, 32, 32), groups=8, head_channels=16, text_width=32, text_layers=2, batch=4
)
PLAN = replace(CPU, batch=4, evaluate_every=2)


def some_shelf(first: int) -> Shelf:
    specs = [random_spec(np.random.default_rng((first, index))) for index in range(6)]
    latents = np.random.default_rng(first).standard_normal((6, 4, 8, 8)).astype(np.float32)
    return Shelf(Bucket(64, 64, 6), latents, specs, np.full(6, 1 / 6), np.zeros(6, bool))


def run(folder: Path, stop: int) -> Networks:
    """Train a small model up to a step, from the folder's checkpoint if it has one."""
    folder.mkdir(exist_ok=True)
    tokenizer = write_tokenizer(folder / "tokenizer")
    torch.manual_seed(3)
    networks = Networks(RECIPE, tokenizer)
    networks.requires_grad_(False)
    networks.unet.requires_grad_(True)
    alphas = build_scheduler().alphas_cumprod
    held_out = held_out_batches(RECIPE, {"some": some_shelf(1)}, alphas, tokenizer)
    shelf = some_shelf(2)
    maker = BatchMaker(RECIPE, [shelf], shelf.latents, tokenizer)
    return train(networks, maker, RECIPE, PLAN, held_out, folder, MACHINE, None, stop)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "halted", 2)
    halted = run(tmp_path / "halted", 4)
    pairs = zip(whole.state_dict().values(), halted.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_the_losses_of_held_out_scenes_are_written_from_the_start_on(tmp_path: Path) -> None:
    run(tmp_path / "run", 4)
    lines = (tmp_path / "run" / "refine.jsonl").read_text(encoding="utf-8").splitlines()
    assert ['"step": 0' in lines[0], '"step": 2' in lines[1], '"step": 4' in lines[2]] == [True] * 3


def test_held_out_losses_change_with_the_weights_alone(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    networks = Networks(RECIPE, tokenizer).eval()
    alphas = build_scheduler().alphas_cumprod
    first, second = (held_out_batches(RECIPE, {"some": some_shelf(1)}, alphas, tokenizer) for _ in range(2))
    before = held_out_losses(networks, first, MACHINE)
    assert held_out_losses(networks, second, MACHINE) == before
    with torch.no_grad():
        next(networks.unet.parameters()).add_(0.1)
    assert held_out_losses(networks, first, MACHINE) != before


def test_only_the_unet_learns_and_starts_from_the_exported_weights() -> None:
    networks, _ = load_networks(MODEL, DEMO.diffusion)
    assert {name.split(".")[0] for name, values in networks.named_parameters() if values.requires_grad} == {"unet"}
    exported = load_file(MODEL / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(values, exported[name].float()) for name, values in networks.unet.state_dict().items())


def test_a_trained_model_differs_from_its_start_by_the_unet_alone(tmp_path: Path) -> None:
    networks, _ = load_networks(MODEL, DEMO.diffusion)
    with torch.no_grad():
        for values in networks.unet.parameters():
            values.add_(0.25)
    target = write_model(networks, MODEL, tmp_path / "refined")
    changed = {
        str(file.relative_to(MODEL))
        for file in MODEL.rglob("*.safetensors")
        if file.read_bytes() != (target / file.relative_to(MODEL)).read_bytes()
    }
    assert changed == {"unet/diffusion_pytorch_model.safetensors"}
    written = load_file(target / "unet" / "diffusion_pytorch_model.safetensors")
    assert {values.dtype for values in written.values()} == {torch.float16}


@pytest.mark.parametrize("focus", FOCUSES, ids=lambda focus: focus.name)
def test_every_scene_of_a_focus_is_of_its_kind_and_none_is_held_out_too(focus: Focus) -> None:
    trained, held_out = ([focus_spec(focus, seed, index) for index in range(4)] for seed in (0, 1))
    assert all(focus.accepts(spec) for spec in trained + held_out)
    assert not set(trained) & set(held_out)


def test_a_focus_that_no_scene_can_be_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    impossible = Focus("moon at noon", 1.0, 1, lambda spec: spec.body == "moon" and spec.time == "day")
    monkeypatch.setattr("training.refine.scenes.FOCUSES", (impossible,))
    monkeypatch.setattr("training.refine.scenes._TRIES", 200)
    with pytest.raises(LookupError, match="moon at noon"):
        focus_spec(impossible, 0, 0)


def test_the_shares_of_all_draws_sum_to_one() -> None:
    assert sum(focus.share for focus in FOCUSES) == pytest.approx(1.0)
    assert CUDA.batch > CPU.batch


def test_scenes_are_drawn_once(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae")
    drawing = Drawing("fog", next(focus for focus in FOCUSES if focus.name == "fog"), Bucket(64, 64, 3), seed=0)
    first = load_shelf(tmp_path, vae, drawing, processes=1)
    written = (tmp_path / "fog.npy").stat().st_mtime_ns
    again = load_shelf(tmp_path, vae, drawing, processes=1)
    assert first.latents.shape == (3, 4, 8, 8)
    assert np.array_equal(first.latents, again.latents)
    assert (tmp_path / "fog.npy").stat().st_mtime_ns == written
