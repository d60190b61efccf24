"""Train the demo model: ``python -m training all`` draws, trains and exports; each stage resumes where it stopped."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL

from .autoencoder import make_autoencoder, train_decoder
from .checkpoint import Machine, pick_machine
from .config import DEMO, Recipe
from .dataset import draw_all, load_pictures
from .diffusion import train_diffusion
from .export import export_model
from .gate import ceiling, missed, report, run_gate
from .latents import encode_all
from .refine.train import refine
from .tiny import train_tiny
from .tokenizer import write_tokenizer


def _draw(recipe: Recipe, options: argparse.Namespace, _machine: Machine) -> None:
    draw_all(recipe, options.work, options.processes)


def _autoencoder(recipe: Recipe, options: argparse.Namespace, machine: Machine) -> None:
    train_tiny(recipe, options.work, machine, train_decoder(recipe, options.work, machine))


def _diffusion(recipe: Recipe, options: argparse.Namespace, machine: Machine) -> None:
    encode_all(recipe, options.work, make_autoencoder(recipe, options.work))
    train_diffusion(recipe, options.work, machine)


def _export(recipe: Recipe, options: argparse.Namespace, machine: Machine) -> None:
    vae = train_decoder(recipe, options.work, machine)
    tiny = train_tiny(recipe, options.work, machine, vae)
    networks = train_diffusion(recipe, options.work, machine)
    tokenizer = write_tokenizer(options.work / "tokenizer")
    pictures = np.array(load_pictures(options.work, recipe.buckets[0])[:256])
    export_model(options.model, networks, vae, tiny, tokenizer, pictures)


def _refine(recipe: Recipe, options: argparse.Namespace, machine: Machine) -> None:
    """Train on and, with --judge, judge what there is at half of the way beside the training, and the end after it."""
    judging: list[subprocess.Popen[bytes]] = []

    def at_half(model: Path) -> None:
        print(f"wrote {model}", flush=True)
        if options.judge:
            # A command of its own: judging counts pixels in Python, which training must not wait for.
            command = [sys.executable, "-m", "training", "judge", "--device", str(machine.device)]
            command += ["--model", str(model), "--work", str(options.work / "half")]
            judging.append(subprocess.Popen(command))

    refined = refine(options.model, options.work, machine, options.processes, options.minutes, options.steps, at_half)
    print(f"wrote {refined}; judge it with: python -m training judge --model {refined}", flush=True)
    for process in judging:
        process.wait(_JUDGED_WITHIN_S)
    if options.judge:
        options.model = refined
        _judge(recipe, options, machine)


def _judge(_recipe: Recipe, options: argparse.Namespace, machine: Machine) -> None:
    verdicts = run_gate(options.model, options.work, machine.device)
    print(report(verdicts))
    print(
        ceiling(
            AutoencoderKL.from_pretrained(options.model, subfolder="vae", torch_dtype=torch.float32), machine.device
        )
    )
    if too_few := missed(verdicts):
        raise SystemExit(f"the gate is missed by: {', '.join(too_few)}")
    print("the gate is passed")


_JUDGED_WITHIN_S: Final = 1800.0

_Stages = dict[str, tuple[Callable[[Recipe, argparse.Namespace, Machine], None], str]]

_STAGES: Final[_Stages] = {
    "draw": (_draw, "draw the scenes"),
    "autoencoder": (_autoencoder, "train the decoder and the tiny autoencoder"),
    "diffusion": (_diffusion, "encode the scenes, train the text encoders and the UNet"),
    "export": (_export, "write the model folder (finishes any stage that is not done)"),
    "judge": (_judge, "draw what the gate asks of the model that --model names, count what is right, leave sheets"),
}

_OTHERS: Final[_Stages] = {
    "refine": (_refine, "train on from the model that --model names, and write WORK/refined"),
}


def main() -> None:
    """Parse the command line and run the stages it names."""
    texts = {name: text for name, (_, text) in _STAGES.items()}
    texts |= {"all": "every stage above, in this order"} | {name: text for name, (_, text) in _OTHERS.items()}
    stages = "\n".join(f"  {name:12} {text}" for name, text in texts.items())
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=f"{__doc__}\n\nstages:\n{stages}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=list(texts))
    parser.add_argument("--work", type=Path, default=Path("training-run"), help="scenes and checkpoints (%(default)s)")
    parser.add_argument("--model", type=Path, default=Path("../models/demo"), help="exported model (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … (%(default)s)")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="to draw with (%(default)s)")
    parser.add_argument("--steps", type=int, help="diffusion steps instead of the recipe's; refine: the last step")
    parser.add_argument("--minutes", type=float, help="refine: end so long after the start")
    parser.add_argument("--judge", action="store_true", help="refine: judge half-way and at the end")
    parser.add_argument("--seed", type=int, help="seed instead of the recipe's")
    options = parser.parse_args()
    recipe = DEMO
    if options.steps is not None:
        recipe = replace(recipe, diffusion=replace(recipe.diffusion, steps=options.steps))
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    machine = pick_machine(options.device, options.precision)
    print(f"device {machine.device}, {'bfloat16' if machine.is_bfloat16 else 'float32'}", flush=True)
    for name, (run, _) in _STAGES.items() if options.stage == "all" else (_STAGES | _OTHERS).items():
        if options.stage in (name, "all"):
            run(recipe, options, machine)


if __name__ == "__main__":
    main()
