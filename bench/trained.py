"""What the benchmarks of a trained model share: loading it, and how much two of its pictures are alike."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from latentcast_worker.model.load import ModelSource, load_sdxl
from latentcast_worker.model.port import Pixels, Reporter
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.settings import ShortcutName, WorkerSettings


def model_arguments() -> argparse.ArgumentParser:
    """A parser that knows which model, and where its calibration may lie."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache-dir", required=True, type=Path)
    return parser


def load_exact(options: argparse.Namespace, *shortcuts: ShortcutName, lora_dir: str | None = None) -> SdxlModel:
    """The model of `model_arguments` on the CPU, no call shared; its log goes to stderr."""
    settings = WorkerSettings(
        endpoint="unused",
        slot=0,
        incarnation=0,
        model=options.model,
        tiny_vae="unused",
        device="cpu",
        cache_dir=str(options.cache_dir),
        max_batch=1,
        lora_dir=lora_dir,
        shortcuts=shortcuts,
    )
    reporter = Reporter(lambda _report: None, lambda _level, line: print(line, file=sys.stderr))
    return load_sdxl(ModelSource(options.model, "bench"), settings, reporter)


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
