"""The judge's gate: three seed sets of forty prompts, one short prompt over forty seeds, and what nobody asked for."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .autoencoder import SCALING_FACTOR, scaled_latents, to_pixels
from .judge import CASES, Case
from .progress import Progress
from .scenes.draw import draw_scene
from .sheet import contact_sheet, sample
from .unasked import KINDS, unasked

LEAST_RIGHT: Final = 39
"""Of forty images of a set."""

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Some cases and the seed of each."""

    name: str
    cases: tuple[Case, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged image: the checks it fails, and the kinds of things in it that were not asked for."""

    prompt: str
    seed: int
    failures: tuple[str, ...]
    unasked: tuple[str, ...]


def _seed_set(first: int) -> JudgedSet:
    return JudgedSet(f"seeds {first} to {first + len(CASES) - 1}", CASES, tuple(range(first, first + len(CASES))))


_SHORT: Final = next(case for case in CASES if case.prompt == "a beautiful sunset")

SETS: Final = (
    *(_seed_set(first) for first in (0, 1000, 2000)),
    JudgedSet(f"`{_SHORT.prompt}`, seeds 0 to 39", (_SHORT,) * 40, tuple(range(40))),
)
"""What the gate asks."""


def judge_images(judged: JudgedSet, images: Sequence[NDArray[np.uint8]]) -> list[Verdict]:
    """A verdict on each image (H x W x 3 bytes) of a set."""
    return [
        Verdict(case.prompt, seed, tuple(case.failures(image)), unasked(case, image / 255.0))
        for case, seed, image in zip(judged.cases, judged.seeds, images, strict=True)
    ]


def run_gate(model: Path, folder: Path, device: torch.device) -> dict[str, list[Verdict]]:
    """Draw and judge every set with the model's own settings; leaves a sheet of each set and ``judged.json``.

    Args:
        model: a model folder.
        folder: takes the sheets; an image that fails has a red frame, one with something unasked an orange one.
    """
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float32).to(device)
    defaults = json.loads((model / "latentcast.json").read_text(encoding="utf-8"))
    batch = 40 if device.type == "cuda" else 8
    verdicts: dict[str, list[Verdict]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    progress, done = Progress("judge", sum(len(judged.cases) for judged in SETS)), 0
    for number, judged in enumerate(SETS):
        images: list[NDArray[np.uint8]] = []
        for start in range(0, len(judged.cases), batch):
            some = slice(start, start + batch)
            images += sample(
                pipeline,
                [case.prompt for case in judged.cases[some]],
                judged.seeds[some],
                steps=defaults["default_steps"],
                guidance=defaults["default_guidance_scale"],
                batch=batch,
            )
            progress.show(done + len(images))
        done += len(images)
        verdicts[judged.name] = judge_images(judged, images)
        framed = [_framed(image, verdict) for image, verdict in zip(images, verdicts[judged.name], strict=True)]
        contact_sheet(framed, 8).save(folder / f"judged-{number + 1}.png")
    rows = {name: [_row(verdict) for verdict in some] for name, some in verdicts.items()}
    (folder / "judged.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return verdicts


@torch.no_grad()
def ceiling(vae: AutoencoderKL, device: torch.device) -> str:
    """What no UNet can surpass: how many true scenes of the forty prompts are still right when the decoder drew them.

    Args:
        vae: stays where it is.
    """
    copied, lines = copy.deepcopy(vae).to(device).eval(), []
    for judged in SETS[:3]:
        cases = list(zip(judged.cases, judged.seeds, strict=True))
        scenes = np.stack([draw_scene(replace(case.spec, seed=seed), 256, 256) for case, seed in cases])
        images: list[NDArray[np.uint8]] = []
        for start in range(0, len(scenes), _AT_ONCE):
            latents = scaled_latents(copied, to_pixels(scenes[start : start + _AT_ONCE]).to(device)) / SCALING_FACTOR
            pixels = copied.decode(latents).sample.clamp(-1.0, 1.0).permute(0, 2, 3, 1).cpu().numpy()
            images += list(((pixels + 1.0) * 127.5 + 0.5).astype(np.uint8))
        wrong = [verdict for verdict in judge_images(judged, images) if verdict.failures]
        lines.append(f"true scenes, {judged.name}: {len(images) - len(wrong)} of {len(images)} right")
        lines += [f"- {verdict.prompt}, seed {verdict.seed}: {', '.join(verdict.failures)}" for verdict in wrong]
    return "\n".join(lines)


def missed(verdicts: dict[str, list[Verdict]]) -> list[str]:
    """The names of the sets with too few right images; empty when the gate is passed."""
    return [name for name, some in verdicts.items() if _right(some) < LEAST_RIGHT]


def report(verdicts: dict[str, list[Verdict]]) -> str:
    """Markdown: one row for each set, then what is wrong where."""
    lines = ["| set | right | with something unasked | what was not asked for |", "|---|---|---|---|"]
    for name, some in verdicts.items():
        kinds = Counter(kind for verdict in some for kind in verdict.unasked)
        listed = ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]) or "nothing"
        lines.append(f"| {name} | {_right(some)} of {len(some)} | {sum(bool(v.unasked) for v in some)} | {listed} |")
    wrong = [verdict for some in verdicts.values() for verdict in some if verdict.failures]
    return "\n".join([*lines, "", *(f"- {v.prompt}, seed {v.seed}: {', '.join(v.failures)}" for v in wrong)])


def _right(verdicts: Sequence[Verdict]) -> int:
    return sum(not verdict.failures for verdict in verdicts)


def _row(verdict: Verdict) -> dict[str, Any]:
    return {"prompt": verdict.prompt, "seed": verdict.seed, "wrong": verdict.failures, "unasked": verdict.unasked}


def _framed(image: NDArray[np.uint8], verdict: Verdict) -> NDArray[np.uint8]:
    colour = "red" if verdict.failures else "orange" if verdict.unasked else "white"
    return np.asarray(ImageOps.expand(Image.fromarray(image), border=4, fill=colour))
