"""What LoRAs cost: a step with one of rank 16 in all attention layers, a step without, and going from one to another.

Prints one JSON object. `adapted` and `idle` are ratios of steps: with a LoRA and without, and without one on a server
that has a folder of LoRAs and on one that has none. `switch_ms` is what a request with another LoRA than the last one
pays once both are loaded: finding them, and what its first step takes longer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from image_params import plain_params
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.lora.names import layers_of
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import GenerationParams, Lora
from trained import load_exact, model_arguments

RANK = 16
NAMES = ("one", "two")
STEPS = 20


def main() -> None:
    parser = model_arguments()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    folder = Path(options.cache_dir) / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    plain, model = load_exact(options), load_exact(options, lora_dir=str(folder))
    for seed, name in enumerate(NAMES):
        write_lora(model, folder / f"{name}.safetensors", seed)
    report: dict[str, list[float]] = {"adapted": [], "idle": [], "switch_ms": []}
    for repeat in range(options.repeats + 1):
        arms: dict[str, Callable[[], float]] = {
            "plain": lambda: steps_seconds(plain, ()),
            "idle": lambda: steps_seconds(model, ()),
            "adapted": lambda: steps_seconds(model, ("one",)),
            "switching": lambda: steps_seconds(model, NAMES),
        }
        order = list(arms) if repeat % 2 == 0 else list(arms)[::-1]
        seconds = {name: arms[name]() for name in order}
        found = find_seconds(model)
        if repeat == 0:
            continue  # Warms up, and loads both.
        report["idle"].append(seconds["idle"] / seconds["plain"])
        report["adapted"].append(seconds["adapted"] / seconds["idle"])
        report["switch_ms"].append(1000 * (found + max(0.0, seconds["switching"] - seconds["adapted"])))
    print(json.dumps(report))


def write_lora(model: SdxlModel, path: Path, seed: int) -> None:
    """A random LoRA of rank 16 in every projection of every attention, named as kohya's trainer does."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    module: Any
    with model.unet.module_for(()) as module:
        for name, layer in layers_of(module):
            if any(part in name for part in ("to_q", "to_k", "to_v", "to_out")):
                out, into = layer.weight.shape
                key = f"lora_unet_{name.replace('.', '_')}"
                tensors[f"{key}.lora_down.weight"] = torch.randn(RANK, into, generator=generator) * 0.02
                tensors[f"{key}.lora_up.weight"] = torch.randn(out, RANK, generator=generator) * 0.02
    save_file(tensors, path)


def params_of(model: SdxlModel, names: tuple[str, ...]) -> GenerationParams:
    return plain_params(
        "a lighthouse at dusk",
        steps=STEPS,
        size=(model.info.native_width, model.info.native_height),
        guidance=model.info.default_guidance_scale,
        loras=tuple(Lora(path=name, scale=0.8) for name in names),
    )


def prepared(model: SdxlModel, names: tuple[str, ...]) -> SdxlSample:
    params = params_of(model, names)
    fetching = model.fetch(params, lambda: None)
    (sample,) = model.prepare(params, None, None if fetching is None else fetching.result())
    return sample


def steps_seconds(model: SdxlModel, names: tuple[str, ...]) -> float:
    """Of a step. With several names each step is of another image, with the next of these LoRAs."""
    samples = [prepared(model, (name,)) for name in names] or [prepared(model, ())]
    for sample in samples:
        model.step([sample])
    began = time.perf_counter()
    for index in range(STEPS - 1):
        model.step([samples[index % len(samples)]])
    return (time.perf_counter() - began) / (STEPS - 1)


def find_seconds(model: SdxlModel) -> float:
    """From a request that names a loaded LoRA to what its job needs."""
    params = replace(params_of(model, ("two",)), seed=1)
    began = time.perf_counter()
    model.check(params)
    fetching = model.fetch(params, lambda: None)
    assert fetching is not None
    fetching.result()
    return time.perf_counter() - began


if __name__ == "__main__":
    with torch.inference_mode():
        main()
