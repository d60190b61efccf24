"""Parameters of the images that benches draw, in one place: each new parameter of the protocol is added here alone."""

from __future__ import annotations

from latentcast_worker.protocol import GenerationParams, Lora


def plain_params(
    prompt: str,
    *,
    steps: int,
    size: tuple[int, int],
    guidance: float,
    seed: int = 0,
    negative_prompt: str = "",
    images: int = 1,
    strength: float | None = None,
    model: str | None = None,
    loras: tuple[Lora, ...] = (),
) -> GenerationParams:
    """`size` is width and height in pixels. The prompt is read as plain text."""
    width, height = size
    return GenerationParams(
        prompt=prompt,
        negative_prompt=negative_prompt,
        prompt_syntax="plain",
        num_inference_steps=steps,
        width=width,
        height=height,
        seed=seed,
        guidance_scale=guidance,
        num_images=images,
        strength=strength,
        model=model,
        loras=loras,
    )
