"""What starting from an image costs: the encode beside the reference pipeline's, and a step beside that of a plain job.

Prints one JSON object with the ratios (ours ÷ reference, and image job ÷ plain job) of every pair; arms take turns.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image

from image_params import plain_params
from latentcast_worker.inputs import InputImages
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import GenerationParams
from trained import load_exact, model_arguments, paired_ratios, seconds_of

# Steps of a pair: enough that a pair is not over in a moment.
STEPS = 8


def main() -> None:
    parser = model_arguments()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model = load_exact(options)
    pipeline: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(options.model, add_watermarker=False)
    side = model.info.native_width
    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2] = 255
    inputs, masked = InputImages(image), InputImages(image, mask)
    picture = Image.fromarray(image)
    report = {
        "encode": paired_ratios(
            options.repeats,
            lambda: seconds_of(lambda: model.encode(inputs)),
            lambda: seconds_of(lambda: _reference_encode(pipeline, picture)),
        ),
        "image_step": paired_ratios(
            options.repeats, lambda: _step_seconds(model, inputs), lambda: _step_seconds(model, None)
        ),
        "mask_step": paired_ratios(
            options.repeats, lambda: _step_seconds(model, masked), lambda: _step_seconds(model, None)
        ),
    }
    print(json.dumps(report))


def _reference_encode(pipeline: Any, picture: Image.Image) -> object:
    pixels = pipeline.image_processor.preprocess(picture)
    timestep = torch.tensor([500])
    generator = torch.Generator().manual_seed(0)
    return pipeline.prepare_latents(pixels, timestep, 1, 1, torch.float32, torch.device("cpu"), generator)


def _step_seconds(model: SdxlModel, inputs: InputImages | None) -> float:
    (sample,) = model.prepare(_params(model, inputs), None if inputs is None else model.encode(inputs))
    return seconds_of(lambda: [model.step([sample]) for _ in range(sample.total_steps)])


def _params(model: SdxlModel, inputs: InputImages | None) -> GenerationParams:
    return plain_params(
        "a beautiful sunset",
        steps=STEPS,
        size=(model.info.native_width, model.info.native_height),
        guidance=model.info.default_guidance_scale,
        strength=None if inputs is None else 1.0,
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
