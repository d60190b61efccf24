"""P10: what previews show. One picture step by step; every preview of both sources beside the final picture.

Prints one JSON object: for each step the share of the run that is done, and PSNR (dB) and cosine of the x0 preview and
of the noisy-latent preview with the final picture, all at a quarter of its size.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from latentcast_worker.model.load import LoadOptions, load_sdxl
from latentcast_worker.model.port import Pixels
from latentcast_worker.protocol import Generate, PreviewPlan, PreviewSource


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--cache-dir", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    load = LoadOptions(options.model, "fidelity", "unused", "cpu", 1, options.cache_dir)
    model = load_sdxl(load, lambda _report: None, lambda _level, line: print(line, file=sys.stderr))
    side = model.info.native_width
    prompt = model.info.examples[0] if model.info.examples else "a lighthouse at dusk"
    request = Generate(
        "fidelity", 0, prompt, "", options.steps, side, side, 1, model.info.default_guidance_scale, 1, None, None, None
    )
    (sample,) = model.prepare(request)
    shown: list[dict[PreviewSource, Pixels]] = []
    for _ in range(options.steps):
        model.step([sample])
        frames: dict[PreviewSource, Pixels] = {}
        for source in ("x0", "latents"):
            (frames[source],) = model.start_preview([sample], PreviewPlan(1, None, None, 70, "tae", source)).wait()
        shown.append(frames)
    final = small(model.decode(sample))
    steps = [
        {
            "progress": (index + 1) / options.steps,
            **{source: likeness(small(pixels), final) for source, pixels in frames.items()},
        }
        for index, frames in enumerate(shown)
    ]
    print(json.dumps({"is_noise": model.info.is_noise, "steps": steps}))


def small(pixels: Pixels) -> np.ndarray:
    """Means of 4 x 4 pixels: what a picture shows, without its grain."""
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    return pixels[: height * 4, : width * 4].astype(np.float64).reshape(height, 4, width, 4, 3).mean(axis=(1, 3))


def likeness(shown: np.ndarray, final: np.ndarray) -> dict[str, float]:
    error = float(((shown - final) ** 2).mean())
    left, right = (picture - picture.mean() for picture in (shown, final))
    cosine = float((left * right).sum() / max(1e-9, np.linalg.norm(left) * np.linalg.norm(right)))
    return {"psnr": 10 * float(np.log10(255**2 / max(error, 1e-9))), "cosine": cosine}


if __name__ == "__main__":
    with torch.inference_mode():
        main()
