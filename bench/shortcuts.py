"""What a shortcut saves and what it changes: whole pictures with it and without, in turns, from the same seeds.

Prints one JSON object: for each shortcut the ratio of times (with ÷ without) of every pair, and the PSNR (dB) between
the two pictures, at a quarter of their size.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import torch

from image_params import plain_params
from latentcast_worker.model.port import Pixels
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.shortcuts import Shortcuts
from latentcast_worker.settings import ShortcutName
from trained import likeness, load_exact, model_arguments, small

# `few-step` needs a checkpoint of its own and is no comparison.
MEASURED: tuple[tuple[ShortcutName, ...], ...] = (("cfg-cutoff",), ("step-cache",), ("cfg-cutoff", "step-cache"))


def main() -> None:
    parser = model_arguments()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model = load_exact(options, "step-cache")
    report: dict[str, dict[str, list[float]]] = {}
    for names in MEASURED:
        arms = (frozenset[ShortcutName](), frozenset(names))
        ratios: list[float] = []
        psnrs: list[float] = []
        for repeat in range(options.repeats):
            order = arms if repeat % 2 == 0 else arms[::-1]
            made = {arm: _picture(model, arm, seed=repeat) for arm in order}
            (plain_seconds, plain), (seconds, changed) = made[arms[0]], made[arms[1]]
            ratios.append(seconds / plain_seconds)
            psnrs.append(likeness(small(changed), small(plain))["psnr"])
        report["+".join(names)] = {"ratios": ratios, "psnrs": psnrs}
    print(json.dumps(report))


def _picture(model: SdxlModel, shortcuts: Shortcuts, seed: int) -> tuple[float, Pixels]:
    model = replace(model, shortcuts=shortcuts, deepcache=model.deepcache if "step-cache" in shortcuts else None)
    info = model.info
    prompt = info.examples[seed % len(info.examples)] if info.examples else "a lighthouse at dusk"
    params = plain_params(
        prompt,
        steps=info.default_steps,
        size=(info.native_width, info.native_height),
        guidance=info.default_guidance_scale,
        seed=seed,
    )
    began = time.perf_counter()
    (sample,) = model.prepare(params)
    for _ in range(sample.total_steps):
        model.step([sample])
    pixels = model.decode(sample)
    return time.perf_counter() - began, pixels


if __name__ == "__main__":
    with torch.inference_mode():
        main()
