"""Train on from exported weights: the UNet alone, on scenes of what it draws worst and of everything else."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ..batches import BatchMaker, NoisyBatch, add_noise
from ..checkpoint import Machine, load_checkpoint, save_checkpoint, step_rng
from ..config import DEMO, DiffusionRecipe
from ..diffusion import batch_parts, update_average, velocity_loss
from ..networks import Networks, build_scheduler
from ..parallel import GradientPool
from ..progress import Progress
from .evaluate import SCENES, held_out_batches, held_out_losses
from .plan import CPU, CUDA, RefinePlan
from .scenes import held_out_shelves, spoiled_latents, training_shelves

_STAGE: Final = 5
_SAVE_EVERY_S: Final = 300.0
_AHEAD: Final = 4
_MOST_STEPS: Final = 1_000_000


def refine(
    model: Path, folder: Path, machine: Machine, processes: int, minutes: float | None, steps: int | None
) -> Path:
    """Train (or go on training) from a model folder and write the result as another.

    Args:
        model: the exported model to start from; it is not changed.
        folder: takes latents, the checkpoint ``refine.pt``, the losses ``refine.jsonl`` and the model ``refined``.
        minutes: stop after this time, drawing not counted.
        steps: stop after this step.

    Returns:
        The folder of the trained model.
    """
    plan = CUDA if machine.device.type == "cuda" else CPU
    recipe = replace(DEMO.diffusion, batch=plan.batch, square_share=plan.native_share)
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32)
    networks, tokenizer = load_networks(model, recipe)
    shelves = training_shelves(folder, vae, plan.scale, processes)
    spoiled = spoiled_latents(folder, vae, plan.scale, processes)
    held_out = held_out_shelves(folder, vae, SCENES, processes)
    alphas = build_scheduler().alphas_cumprod
    batches = held_out_batches(replace(recipe, batch=SCENES), held_out, alphas, tokenizer)
    maker = BatchMaker(recipe, shelves, spoiled, tokenizer)
    trained = train(
        networks, maker, recipe, plan, batches, folder, machine, minutes, _MOST_STEPS if steps is None else steps
    )
    return write_model(trained, model, folder / "refined")


def load_networks(model: Path, recipe: DiffusionRecipe) -> tuple[Networks, CLIPTokenizer]:
    """The networks of an exported model in float32, of which only the UNet learns.

    The text encoders stay: they tell the words apart already, and the probe that taught them is not exported.
    """
    tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer")
    networks = Networks(recipe, tokenizer)
    for part, kind, name in (
        (networks.text, CLIPTextModel, "text_encoder"),
        (networks.text_2, CLIPTextModelWithProjection, "text_encoder_2"),
        (networks.unet, UNet2DConditionModel, "unet"),
    ):
        part.load_state_dict(kind.from_pretrained(model, subfolder=name, torch_dtype=torch.float32).state_dict())
    networks.requires_grad_(False)
    networks.unet.requires_grad_(True)
    return networks, tokenizer


def train(
    networks: Networks,
    maker: BatchMaker,
    recipe: DiffusionRecipe,
    plan: RefinePlan,
    held_out: dict[str, NoisyBatch],
    folder: Path,
    machine: Machine,
    minutes: float | None,
    steps: int,
) -> Networks:
    """Run AdamW from the checkpoint ``refine.pt``, if any, and return the averaged networks on the CPU."""
    networks.to(machine.device).train()
    average = copy.deepcopy(networks).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        networks.unet.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    first, path = 0, folder / "refine.pt"
    if (state := load_checkpoint(path)) is not None:
        first = int(state["step"])
        networks.unet.load_state_dict(state["model"])
        average.unet.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    else:
        _note(folder, 0, held_out_losses(average, held_out, machine))
    started_s = saved_s = time.monotonic()
    progress, shown = Progress("refine", steps, first), 0.0
    with GradientPool(networks.unet, machine.workers) as pool:
        for step, noised in _noised_batches(maker, recipe, first, steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * min(1.0, (step + 1) / plan.warmup)
            parts = batch_parts(noised, machine)

            def loss_of(index: int, noised: NoisyBatch = noised, parts: list[slice] = parts) -> Tensor:
                return velocity_loss(networks, noised, parts[index], machine)[0]

            value = pool.run(loss_of, [len(noised.steps[rows]) / len(noised.steps) for rows in parts])
            nn.utils.clip_grad_norm_(networks.unet.parameters(), 1.0)
            optimizer.step()
            update_average(average.unet, networks.unet, min(plan.ema, (step + 1) / (step + 10)))
            shown = value if step == first else 0.98 * shown + 0.02 * value
            progress.show(step + 1, f"loss {shown:.4f}")
            now_s = time.monotonic()
            is_last = step + 1 == steps or (minutes is not None and now_s - started_s > 60.0 * minutes)
            if (step + 1) % plan.evaluate_every == 0 or is_last:
                _note(folder, step + 1, held_out_losses(average, held_out, machine))
            if now_s - saved_s > _SAVE_EVERY_S or is_last:
                saved_s = now_s
                model, ema = networks.unet.state_dict(), average.unet.state_dict()
                save_checkpoint(
                    path, {"step": step + 1, "model": model, "average": ema, "optimizer": optimizer.state_dict()}
                )
            if is_last:
                break
    return average.to("cpu").eval()


def _noised_batches(
    maker: BatchMaker, recipe: DiffusionRecipe, first: int, last: int
) -> Iterator[tuple[int, NoisyBatch]]:
    """The batches of all steps, made a few steps ahead: a GPU would wait for the captions."""
    alphas = build_scheduler().alphas_cumprod

    def make(step: int) -> NoisyBatch:
        rng, generator = step_rng(DEMO.seed, _STAGE, step)
        return add_noise(maker.make(rng, shrink=1), alphas, recipe, generator)

    with ThreadPoolExecutor(_AHEAD) as pool:
        soon = range(first, min(first + _AHEAD, last))
        waiting: list[Future[NoisyBatch]] = [pool.submit(make, step) for step in soon]
        for step in range(first, last):
            noised = waiting.pop(0).result()
            if step + _AHEAD < last:
                waiting.append(pool.submit(make, step + _AHEAD))
            yield step, noised


def _note(folder: Path, step: int, losses: dict[str, float]) -> None:
    """Print the held-out losses and add them to ``refine.jsonl``."""
    print(f"held out, step {step}: " + ", ".join(f"{name} {loss:.5f}" for name, loss in losses.items()), flush=True)
    with (folder / "refine.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **losses}) + "\n")


def write_model(networks: Networks, model: Path, target: Path) -> Path:
    """Write ``model`` with another UNet, in half precision, as the folder ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(model, target)
    copy.deepcopy(networks.unet).to(torch.float16).save_pretrained(target / "unet")
    for weights in target.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes for the owner only; a container reads as another user.
    return target
