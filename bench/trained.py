"""What the benchmarks of a trained model share: loading it, timing it, and how much two of its pictures are alike."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from latentcast_worker.model.load import ModelSource, load_sdxl
from latentcast_worker.model.port import Pixels, Reporter
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.settings import ShortcutName, WorkerSettings

REPORTER = Reporter(lambda _report: None, lambda _level, line: print(line, file=sys.stderr))


def model_arguments() -> argparse.ArgumentParser:
    """A parser that knows which model, and where its calibration may lie."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache-dir", required=True, type=Path)
    return parser


def load_exact(options: argparse.Namespace, *shortcuts: ShortcutName, lora_dir: str | None = None) -> SdxlModel:
    """The model of `model_arguments` on the CPU, no call shared; its log goes to stderr."""
    settings = exact_settings(options, *shortcuts, lora_dir=lora_dir)
    return load_sdxl(ModelSource(options.model, "bench"), settings, REPORTER)


def exact_settings(
    options: argparse.Namespace, *shortcuts: ShortcutName, lora_dir: str | None = None
) -> WorkerSettings:
    """Settings for the CPU with which no call is shared."""
    return WorkerSettings(
        endpoint="unused",
        slot=0,
        incarnation=0,
        models=(options.model,),
        tiny_vae="unused",
        device="cpu",
        cache_dir=str(options.cache_dir),
        max_batch=1,
        lora_dir=lora_dir,
        shortcuts=shortcuts,
    )


def paired_ratios(repeats: int, ours: Callable[[], float], reference: Callable[[], float]) -> list[float]:
    """Ours ÷ the reference of every pair, both as seconds. Who is first changes from pair to pair; one goes before."""
    ours()
    reference()
    ratios: list[float] = []
    for repeat in range(repeats):
        if repeat % 2 == 0:
            seconds = ours()
            ratios.append(seconds / reference())
        else:
            seconds = reference()
            ratios.append(ours() / seconds)
    return ratios


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def small(pixels: Pixels) -> np.ndarray:
    """Means of 4 x 4 pixels: what a picture shows, without its grain."""
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    return pixels[: height * 4, : width * 4].astype(np.float64).reshape(height, 4, width, 4, 3).mean(axis=(1, 3))


def likeness(shown: np.ndarray, final: np.ndarray) -> dict[str, float]:
    """PSNR in dB and cosine."""
    error = float(((shown - final) ** 2).mean())
    left, right = (picture - picture.mean() for picture in (shown, final))
    cosine = float((left * right).sum() / max(1e-9, np.linalg.norm(left) * np.linalg.norm(right)))
    return {"psnr": 10 * float(np.log10(255**2 / max(error, 1e-9))), "cosine": cosine}
