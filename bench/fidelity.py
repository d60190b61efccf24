"""P10: what previews show. One picture step by step; every preview of both sources beside the final picture.

Prints one JSON object: for each step the share of the run that is done, and PSNR (dB) and cosine of the x0 preview and
of the noisy-latent preview with the final picture, all at a quarter of its size.
"""

from __future__ import annotations

import json

import torch

from image_params import plain_params
from latentcast_worker.model.port import Pixels
from latentcast_worker.protocol import PreviewPlan, PreviewSource
from trained import likeness, load_exact, model_arguments, small


def main() -> None:
    parser = model_arguments()
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    model = load_exact(options)
    side = model.info.native_width
    prompt = model.info.examples[0] if model.info.examples else "a lighthouse at dusk"
    params = plain_params(
        prompt, steps=options.steps, size=(side, side), guidance=model.info.default_guidance_scale, seed=1
    )
    (sample,) = model.prepare(params)
    shown: list[dict[PreviewSource, Pixels]] = []
    for _ in range(options.steps):
        model.step([sample])
        frames: dict[PreviewSource, Pixels] = {}
        for source in ("x0", "latents"):
            plan = PreviewPlan(every=1, quality=70, decoder="tae", source=source)
            (frames[source],) = model.start_preview([sample], plan).wait()
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


if __name__ == "__main__":
    with torch.inference_mode():
        main()
