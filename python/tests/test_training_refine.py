"""Training on from exported weights: what is drawn, what is learned, and that a stopped run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file
from torch import nn

from training.autoencoder import to_pixels
from training.batches import Shelf
from training.checkpoint import Machine
from training.config import DEMO, Bucket
from training.diffusion import velocity_loss
from training.networks import Networks, build_scheduler
from training.prompts import Prompt, choose_prompt
from training.refine.decoders import refine_decoders, spot_weights
from training.refine.drawing import Drawing, draw_pictures, draw_thumbnails, focus_spec
from training.refine.evaluate import held_out_batches, held_out_losses
from training.refine.loop import Limit, rate_at
from training.refine.plan import CPU, CUDA, FOCUSES, PICTURES, Focus, Pace
from training.refine.resident import ResidentBatches, place_shelves, resident_loss
from training.refine.scenes import PromptedShelf, drawing_pool, start_shelf
from training.refine.train import load_networks, refine, train_unet, write_model
from training.scenes.spec import random_spec
from training.tokenizer import write_tokenizer
from training.warmstart import thumbnails

MODEL = Path(__file__).parents[2] / "models" / "demo"
MACHINE = Machine(torch.device("cpu"), is_bfloat16=False, workers=2)
RECIPE = replace(
    DEMO.diffusion, channels=(16, 32, 32), groups=8, head_channels=16, text_width=32, text_layers=2, batch=4
)
PACE = Pace(batch=4, learning_rate=1e-3, warmup=2, ema=0.9, steps=4)
PLAN = replace(CPU, unet=PACE, decoder=replace(PACE, batch=2), tiny=replace(PACE, batch=2), crop=64, evaluate_every=2)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with drawing_pool(1) as processes:
        yield processes


def some_shelf(first: int) -> Shelf:
    specs = [random_spec(np.random.default_rng((first, index))) for index in range(6)]
    latents = np.random.default_rng(first).standard_normal((6, 4, 8, 8)).astype(np.float32)
    return Shelf(Bucket(64, 64, 6), latents, specs, np.full(6, 1 / 6), np.zeros(6, bool))


def some_prompts(shelf: Shelf) -> list[Prompt]:
    rng = np.random.default_rng(2)
    return [choose_prompt(spec, rng, is_brief=False) for spec in shelf.specs for _ in range(3)]


def small_networks(folder: Path) -> tuple[Networks, Any]:
    tokenizer = write_tokenizer(folder / "tokenizer")
    torch.manual_seed(3)
    networks = Networks(RECIPE, tokenizer)
    networks.requires_grad_(False)
    networks.unet.requires_grad_(True)
    return networks, tokenizer


def some_draws(networks: Networks, tokenizer: Any) -> ResidentBatches:
    shelf = some_shelf(2)
    placed = place_shelves([PromptedShelf(shelf, some_prompts(shelf))], shelf.latents, networks, tokenizer, MACHINE)
    return ResidentBatches(placed, RECIPE, build_scheduler().alphas_cumprod, 1, MACHINE.device)


def run(folder: Path, until: int) -> tuple[nn.Module, list[nn.Module]]:
    """Train a small UNet up to a step of four, from the folder's checkpoint if it has one; what came half-way too."""
    folder.mkdir(exist_ok=True)
    networks, tokenizer = small_networks(folder)
    held_out = held_out_batches(RECIPE, {"some": some_shelf(1)}, build_scheduler().alphas_cumprod, tokenizer)
    halves: list[nn.Module] = []
    limit = Limit(steps=4, until=until)
    draws = some_draws(networks, tokenizer)
    return train_unet(networks, draws, PLAN, limit, held_out, folder, MACHINE, halves.append), halves


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, halves = run(tmp_path / "whole", 4)
    run(tmp_path / "halted", 2)
    halted, _ = run(tmp_path / "halted", 4)
    pairs = zip(whole.state_dict().values(), halted.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
    assert len(halves) == 1


def test_the_losses_of_held_out_scenes_are_written_from_the_start_on(tmp_path: Path) -> None:
    run(tmp_path / "run", 4)
    lines = (tmp_path / "run" / "refine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2, 4]
    assert len({json.loads(line)["some"] for line in lines}) == 3


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


def test_a_step_draws_the_same_batch_again_and_another_step_another(tmp_path: Path) -> None:
    draws = some_draws(*small_networks(tmp_path))
    first, again, other = draws.draw(5), draws.draw(5), draws.draw(6)
    assert all(torch.equal(values, same) for values, same in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@torch.no_grad()
def test_batches_on_the_device_have_the_loss_of_those_made_of_texts(tmp_path: Path) -> None:
    networks, tokenizer = small_networks(tmp_path)
    noised = held_out_batches(RECIPE, {"some": some_shelf(1)}, build_scheduler().alphas_cumprod, tokenizer)["some"]
    embeddings, pooled = networks.encode(noised.batch.ids)
    keep = (~noised.batch.is_zeroed).float()
    embeddings, pooled = embeddings * keep[:, None, None], pooled * keep[:, None]
    times = noised.batch.time_ids
    loss = resident_loss(
        networks, MACHINE, noised.noisy, noised.steps, embeddings, pooled, times, noised.velocity, noised.weight
    )
    wanted, _ = velocity_loss(networks, noised, slice(None), MACHINE)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)


def test_only_the_unet_learns_and_starts_from_the_exported_weights() -> None:
    networks, _ = load_networks(MODEL, DEMO.diffusion)
    assert {name.split(".")[0] for name, values in networks.named_parameters() if values.requires_grad} == {"unet"}
    exported = load_file(MODEL / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(values, exported[name].float()) for name, values in networks.unet.state_dict().items())


def test_a_trained_model_differs_from_its_start_by_what_was_trained(tmp_path: Path) -> None:
    networks, _ = load_networks(MODEL, DEMO.diffusion)
    with torch.no_grad():
        for values in networks.unet.parameters():
            values.add_(0.25)
    decoders = tmp_path / "decoders"
    (decoders / "vae").mkdir(parents=True)
    (decoders / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"trained")
    # As a GPU keeps it: safetensors takes nothing but rows in order.
    unet: Any = networks.unet
    target = write_model(unet.to(memory_format=torch.channels_last), MODEL, decoders, tmp_path / "refined")
    files = [file for file in MODEL.rglob("*") if file.is_file()]
    changed = {
        str(file.relative_to(MODEL))
        for file in files
        if file.suffix == ".safetensors" and file.read_bytes() != (target / file.relative_to(MODEL)).read_bytes()
    }
    assert changed == {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
    written = load_file(target / "unet" / "diffusion_pytorch_model.safetensors")
    assert {values.dtype for values in written.values()} == {torch.float16}
    assert all(
        torch.equal(values, written[name].float()) for name, values in networks.unet.half().float().state_dict().items()
    )


def test_training_the_decoders_leaves_the_latents_as_they_are(tmp_path: Path) -> None:
    pictures = draw_pictures(Drawing("stars", "stars", Bucket(64, 64, 2), seed=0), range(2))
    vae: Any = AutoencoderKL.from_pretrained(MODEL, subfolder="vae")
    tiny: Any = AutoencoderTiny.from_pretrained(MODEL, subfolder="tiny_vae")
    before = {name: values.clone() for part in (vae, tiny) for name, values in part.state_dict().items()}
    refine_decoders(vae, tiny, pictures, tmp_path, PLAN, None, MACHINE)
    after = {name: values for part in (vae, tiny) for name, values in part.state_dict().items()}
    changed = {name.split(".")[0] for name, values in before.items() if not torch.equal(values, after[name])}
    assert changed == {"post_quant_conv", "decoder"}


def test_an_error_counts_most_on_a_bright_spot() -> None:
    pixels = torch.full((1, 3, 32, 32), -0.9)
    pixels[:, :, 14:18, 14:18] = 0.9
    weights = spot_weights(pixels)[0, 0]
    assert float(weights[15, 15]) == pytest.approx(5.0)
    assert float(weights[2, 2]) == pytest.approx(1.0, abs=1e-4)


def test_the_learning_rate_rises_stays_and_falls_in_the_last_fifth() -> None:
    pace = replace(PACE, learning_rate=1.0, warmup=10)
    assert rate_at(0, 0.0, pace) == pytest.approx(0.1)
    assert [rate_at(99, share, pace) for share in (0.1, 0.5, 0.8)] == pytest.approx([1.0] * 3)
    assert 0.0 < rate_at(99, 1.0, pace) < rate_at(99, 0.9, pace) < 1.0


def test_a_run_is_over_by_its_steps_or_by_its_seconds() -> None:
    assert Limit(steps=10).share(5, 1e9) == pytest.approx(0.5)
    assert Limit(steps=10, seconds=60.0).share(1, 30.0) == pytest.approx(0.5)
    assert Limit(steps=10, seconds=60.0).share(9, 600.0) == pytest.approx(1.0)


@pytest.mark.parametrize("focus", FOCUSES, ids=lambda focus: focus.name)
def test_every_scene_of_a_focus_is_of_its_kind_and_none_is_held_out_too(focus: Focus) -> None:
    trained, held_out = ([focus_spec(focus, seed, index) for index in range(4)] for seed in (0, 1))
    assert all(focus.accepts(spec) for spec in trained + held_out)
    assert not set(trained) & set(held_out)


def test_a_focus_that_no_scene_can_be_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    impossible = Focus("moon at noon", 1.0, 1, lambda spec: spec.body == "moon" and spec.time == "day")
    monkeypatch.setattr("training.refine.drawing.FOCUSES", (impossible,))
    monkeypatch.setattr("training.refine.drawing._TRIES", 200)
    with pytest.raises(LookupError, match="moon at noon"):
        focus_spec(impossible, 0, 0)


def test_the_shares_of_all_draws_sum_to_one() -> None:
    assert sum(focus.share for focus in FOCUSES) == pytest.approx(1.0)
    assert set(PICTURES) <= {focus.name for focus in FOCUSES}
    assert CUDA.unet.batch > CPU.unet.batch


def test_thumbnails_made_without_torch_are_those_of_the_encoder() -> None:
    drawing = Drawing("any", "everything", Bucket(64, 96, 3), seed=0)
    wanted = thumbnails(to_pixels(draw_pictures(drawing, range(3)))).numpy()
    assert np.abs(draw_thumbnails(drawing, range(3)) - wanted).max() < 1e-5


def test_scenes_are_drawn_once(tmp_path: Path, pool: Pool) -> None:
    vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae")
    drawing = Drawing("fog", "fog", Bucket(64, 64, 3), seed=0)
    first = start_shelf(tmp_path, vae, drawing, pool)()
    written = (tmp_path / "fog.npy").stat().st_mtime_ns
    again = start_shelf(tmp_path, vae, drawing, pool)()
    assert first.latents.shape == (3, 4, 8, 8)
    assert np.array_equal(first.latents, again.latents)
    assert first.specs == again.specs
    assert (tmp_path / "fog.npy").stat().st_mtime_ns == written


def test_one_command_trains_decoders_and_unet_and_writes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tuple(replace(focus, count=2) for focus in FOCUSES[:2])
    for name, value in (
        ("scenes.FOCUSES", few),
        ("scenes.SIZES", (Bucket(64, 96, 2),)),
        ("scenes.NATIVE", (64, 64)),
        ("scenes.SPOILED", 2),
        ("scenes.PICTURES", {"stars": 2}),
        ("train.SCENES", 2),
    ):
        monkeypatch.setattr(f"training.refine.{name}", value)
    plan = replace(PLAN, captions=2, unet=replace(PACE, batch=2, steps=2))
    halves: list[Path] = []
    refined = refine(MODEL, tmp_path, MACHINE, 1, 60.0, None, halves.append, plan)
    assert halves == [tmp_path / "refined-half"]
    for part in ("unet", "vae", "tiny_vae"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        trained, start = load_file(refined / name), load_file(MODEL / name)
        assert trained.keys() == start.keys()
        assert any(not torch.equal(values, start[key]) for key, values in trained.items())
        config, wanted = (json.loads((folder / part / "config.json").read_text()) for folder in (refined, MODEL))
        assert {key: config[key] for key in wanted if key[0] != "_"} == {
            key: value for key, value in wanted.items() if key[0] != "_"
        }
    vae: Any = cast(Any, AutoencoderKL.from_pretrained(refined, subfolder="vae"))
    assert vae.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)
