"""Sections of gpu.py about what a request may bring: an image, LoRAs, another model; and shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from engine_run import run_one, run_shelf
from gpu_model import RandomModel, random_model, request, timed
from gpu_sections import CAPPED, GIB, LONG_SCHEDULE, Bench
from latentcast_worker.inputs import InputImages
from latentcast_worker.model.acceleration_graphs import CALLS_BEFORE_CAPTURE
from latentcast_worker.model.calibration import calibrate
from latentcast_worker.model.calibration_store import CalibrationStore
from latentcast_worker.model.deepcache import DeepCache
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.lora.factors import LowRank
from latentcast_worker.model.lora.layers import Addition
from latentcast_worker.model.lora.names import layers_of
from latentcast_worker.model.port import WriteLog
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Capabilities
from latentcast_worker.settings import ShortcutName

RANK = 16

SHORTCUTS: tuple[tuple[ShortcutName, ...], ...] = (("cfg-cutoff",), ("step-cache",), ("cfg-cutoff", "step-cache"))


def inputs(bench: Bench) -> None:
    """What an image to start from costs, with a mask and without."""
    model, side = bench.model, bench.side
    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2] = 255
    plain = _seconds_of_steps(bench, model.prepare(request(side, LONG_SCHEDULE).params))
    for what, given in (("image", InputImages(image)), ("image and mask", InputImages(image, mask))):
        model.encode(given)
        encode = median(timed(model, lambda given=given: model.encode(given)) for _ in range(bench.repeats))
        steps = encode / bench.step_seconds
        bench.table.add("image in", f"encode: {what}", steps, "steps", note=f"{encode * 1000:.1f} ms")
        params = replace(request(side, LONG_SCHEDULE).params, strength=1.0)
        samples = model.prepare(params, model.encode(given))
        ratio = _seconds_of_steps(bench, samples) / plain
        bench.table.add("image in", f"step: {what} / without", ratio, "x", most=1.03)
        decode = median(timed(model, lambda samples=samples: model.decode(samples[0])) for _ in range(bench.repeats))
        bench.table.add("image in", f"decode: {what}", decode * 1000, "ms")


def loras(bench: Bench) -> None:
    """A step with LoRAs of all attention layers, once its calls are graphs and before."""
    model = bench.model
    with model.unet.module_for(()) as unet:
        one, other = (_random_lora(unet, seed) for seed in range(2))
    plain = _seconds_of_steps(bench, model.prepare(request(bench.side, LONG_SCHEDULE).params))
    for what, additions in (("a LoRA", (one,)), ("two LoRAs", (one, other))):
        samples = _adapted(bench, additions)
        launched = timed(model, lambda s=samples: model.step(s))
        captured = timed(model, lambda s=samples: model.step(s))
        seconds = _seconds_of_steps(bench, samples)
        note = (
            f"{seconds * 1000:.1f} ms; launched one by one {launched * 1000:.1f} ms, capture {captured * 1000:.0f} ms"
        )
        bench.table.add("LoRA", f"step with {what} / without", seconds / plain, "x", note=note)
    again = _seconds_of_steps(bench, model.prepare(request(bench.side, LONG_SCHEDULE).params))
    bench.table.add("LoRA", "step without, afterwards / before", again / plain, "x", most=1.02)
    model.release_memory()


def several_models(bench: Bench, configs: Path, cache: Path, device: str, log: WriteLog) -> None:
    """Images of two models that take turns step by step, beside two of one of them. Both as they are served then."""
    store = CalibrationStore(cache / "calibration-of-several")
    bench.model.unet.use(replace(bench.model.unet.speed, compiled=False))
    first = calibrate(bench.model, None, store, log, compiles=False)
    second = _second_model(configs, device, store, log)
    shelf = _Shelf({"one": first, "other": second})
    ratios: list[float] = []
    for repeat in range(bench.repeats):
        arms = [("one", "other"), ("one", "one")]
        seconds = {arm: _together(bench, shelf, arm) for arm in (arms if repeat % 2 == 0 else arms[::-1])}
        ratios.append(seconds["one", "other"] / seconds["one", "one"])
    note = f"a step takes {first.costs.seconds[0] * 1000:.1f} ms: {first.unet.speed}"
    bench.table.add("models", "two images of two models / of one", median(ratios), "x", most=1.02, note=note)
    held = torch.cuda.max_memory_reserved() if bench.is_cuda else 0
    bench.table.add("models", "held for both", held / GIB, "GiB")


def shortcuts(bench: Bench) -> None:
    """Whole images with each shortcut, beside the same without. Leaves the model uncalibrated."""
    model, shipped = bench.model, bench.model.unet.speed
    plain = median(run_one(model, request(bench.side, 30)).ended for _ in range(bench.repeats))
    for names in SHORTCUTS:
        deepcache = DeepCache(model.unet) if "step-cache" in names else None
        # A replayed graph does not tell DeepCache what its deep layers gave.
        model.unet.use(replace(shipped, graphs=shipped.graphs and deepcache is None))
        changed = replace(model, shortcuts=frozenset(names), deepcache=deepcache)
        run_one(changed, request(bench.side, 30))
        seconds = median(run_one(changed, request(bench.side, 30)).ended for _ in range(bench.repeats))
        note = f"{seconds:.2f} s for 30 steps; {model.unet.speed}"
        bench.table.add("shortcut", f"image with {' and '.join(names)} / without", seconds / plain, "x", note=note)


class _Shelf:
    """Models that are all loaded."""

    report = None

    def __init__(self, models: dict[str, SdxlModel]) -> None:
        self._models = models

    @property
    def capabilities(self) -> Capabilities:
        return next(iter(self._models.values())).capabilities

    def find(self, name: str | None) -> str | None:
        return name

    def loaded(self, name: str) -> SdxlModel:
        return self._models[name]

    def use(self, name: str) -> None:
        del name

    @property
    def costs(self) -> dict[str, object]:
        return {name: model.costs for name, model in self._models.items()}

    def load(self, name: str) -> None:
        del name

    def drop_all_but(self, names: Sequence[str]) -> bool:
        del names
        return False


def _together(bench: Bench, shelf: _Shelf, names: Sequence[str]) -> float:
    jobs = [request(bench.side, 20, seed=index, preview=CAPPED, name=f"job {index}") for index in range(len(names))]
    named = [replace(job, params=replace(job.params, model=name)) for job, name in zip(jobs, names, strict=True)]
    return max(times.ended for times in run_shelf(shelf, named).values())


def _second_model(configs: Path, device: str, store: CalibrationStore, log: WriteLog) -> SdxlModel:
    made: RandomModel = random_model(configs, device, log)
    return calibrate(made.model, None, store, log, compiles=False)


def _random_lora(unet: Any, seed: int) -> Addition:
    """Of rank 16 in every projection of every attention, as trainers make them by default."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, like: torch.Tensor) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 0.02).to(like.device, like.dtype)

    factors = {
        name: LowRank(
            random(RANK, layer.weight.shape[1], like=layer.weight),
            random(layer.weight.shape[0], RANK, like=layer.weight),
        )
        for name, layer in layers_of(unet)
        if any(part in name for part in ("to_q", "to_k", "to_v", "to_out"))
    }
    return Addition(factors, 0.8)


def _adapted(bench: Bench, additions: Sequence[Addition]) -> Sequence[SdxlSample]:
    samples = bench.model.prepare(request(bench.side, LONG_SCHEDULE).params)
    for sample in samples:
        sample.loras = additions
    return samples


def _seconds_of_steps(bench: Bench, samples: Sequence[SdxlSample]) -> float:
    for _ in range(CALLS_BEFORE_CAPTURE + 1):
        bench.model.step(samples)
    return median(timed(bench.model, lambda: bench.model.step(samples)) for _ in range(3 * bench.repeats))
