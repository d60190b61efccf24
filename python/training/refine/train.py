"""Train on from exported weights: both decoders and the UNet, on scenes of what they draw worst and of everything."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ..batches import NoisyBatch
from ..checkpoint import Machine
from ..config import DEMO, DiffusionRecipe
from ..networks import Networks, build_scheduler
from .decoders import refine_decoders
from .evaluate import SCENES, held_out_batches, held_out_losses
from .loop import Limit, train_part
from .plan import CPU, CUDA, RefinePlan
from .resident import ResidentBatches, place_shelves, resident_loss
from .scenes import (
    drawing_pool,
    start_held_out_shelves,
    start_pictures,
    start_spoiled,
    start_training_shelves,
)

_HALF: Final = 0.5


def refine(
    model: Path,
    folder: Path,
    machine: Machine,
    processes: int,
    minutes: float | None,
    steps: int | None,
    at_half: Callable[[Path], None],
    plan: RefinePlan | None = None,
) -> Path:
    """Train (or go on training) from a model folder and write the result as another.

    Args:
        model: the exported model to start from; it is not changed.
        folder: takes scenes, checkpoints, the losses ``refine.jsonl``, and the models ``refined-half`` and ``refined``.
        minutes: end so long after the call, drawing and decoders counted.
        steps: end after this step of the UNet.
        at_half: called with the model as it is after half of the UNet's time or steps.
        plan: instead of the device's own.

    Returns:
        The folder of the trained model.
    """
    started_s = time.monotonic()
    seconds = None if minutes is None else 60.0 * minutes
    plan = plan or (CUDA if machine.device.type == "cuda" else CPU)
    recipe = replace(DEMO.diffusion, batch=plan.unet.batch, square_share=plan.native_share)
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with drawing_pool(processes) as pool:
        pictures = start_pictures(folder, plan.scale, pool)
        held_out = start_held_out_shelves(folder, vae, SCENES, pool)
        spoiled = start_spoiled(folder, vae, plan.scale, pool)
        shelves = start_training_shelves(folder, vae, plan.scale, plan.captions, pool)
        if not (folder / "decoders").exists():
            tiny = AutoencoderTiny.from_pretrained(model, subfolder="tiny_vae", torch_dtype=torch.float32)
            # Copies: the scenes of the UNet are encoded meanwhile, on the CPU.
            decoder = copy.deepcopy(vae)
            refine_decoders(decoder, tiny, pictures(), folder, plan, seconds, machine)
            write_decoders(folder / "decoders", decoder, tiny)
        prompted, spoiled_latents, held_out_scenes = shelves(), spoiled(), held_out()
    networks, tokenizer = load_networks(model, recipe)
    alphas = build_scheduler().alphas_cumprod
    batches = held_out_batches(replace(recipe, batch=SCENES), held_out_scenes, alphas, tokenizer)
    networks.to(machine.device).eval()
    if machine.device.type == "cuda":
        networks.unet.to(memory_format=torch.channels_last)
    placed = place_shelves(prompted, spoiled_latents, networks, tokenizer, machine)
    draws = ResidentBatches(placed, recipe, alphas, DEMO.seed, machine.device)
    left_s = None if seconds is None else max(1.0, seconds - (time.monotonic() - started_s))
    limit = Limit(plan.unet.steps if steps is None else steps, left_s)
    write = partial(write_model, model=model, decoders=folder / "decoders")
    trained = train_unet(
        networks,
        draws,
        plan,
        limit,
        batches,
        folder,
        machine,
        lambda unet: at_half(write(unet, target=folder / "refined-half")),
    )
    return write(trained, target=folder / "refined")


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


def train_unet(
    networks: Networks,
    draws: ResidentBatches,
    plan: RefinePlan,
    limit: Limit,
    held_out: dict[str, NoisyBatch],
    folder: Path,
    machine: Machine,
    at_half: Callable[[nn.Module], None],
) -> nn.Module:
    """Train the UNet of ``networks``, which are on the device, from ``refine.pt``, if any; returns the averaged one."""
    trained, was_half = networks.unet, False

    def look(step: int, share: float, average: nn.Module) -> None:
        nonlocal was_half
        if step % plan.evaluate_every == 0 or share >= 1.0:
            networks.unet = average
            _note(folder, step, held_out_losses(networks, held_out, machine))
            networks.unet = trained
        if _HALF <= share < 1.0 and not was_half:
            was_half = True
            at_half(average)

    loss_of = partial(resident_loss, networks, machine)
    path = folder / "refine.pt"
    return train_part("unet", trained, loss_of, draws.draw, plan.unet, limit, path, machine, look)


def _note(folder: Path, step: int, losses: dict[str, float]) -> None:
    """Print the held-out losses and add them to ``refine.jsonl``."""
    print(f"held out, step {step}: " + ", ".join(f"{name} {loss:.5f}" for name, loss in losses.items()), flush=True)
    with (folder / "refine.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **losses}) + "\n")


def write_decoders(target: Path, vae: AutoencoderKL, tiny: AutoencoderTiny) -> None:
    """Write the decoders in half precision, as they lie in a model folder; ``target`` appears when both are whole."""
    temporary = target.with_suffix(".writing")
    shutil.rmtree(temporary, ignore_errors=True)
    for part, name in ((vae, "vae"), (tiny, "tiny_vae")):
        save_half(part, temporary / name)
    os.replace(temporary, target)


def write_model(unet: nn.Module, model: Path, decoders: Path, target: Path) -> Path:
    """Write ``model`` with another UNet and the decoders of the folder ``decoders`` as the folder ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(model, target)
    shutil.copytree(decoders, target, dirs_exist_ok=True)
    save_half(unet, target / "unet")
    for weights in target.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes for the owner only; a container reads as another user.
    return target


def save_half(part: Any, folder: Path) -> None:
    """Save a diffusers model in half precision; it may be on a GPU, with the channels together in memory."""
    state = {name: values.detach().to("cpu", torch.float16).contiguous() for name, values in part.state_dict().items()}
    half = type(part).from_config(part.config).to(torch.float16)
    half.load_state_dict(state)
    half.save_pretrained(folder)
