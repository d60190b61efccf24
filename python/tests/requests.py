"""A request with defaults, so that a test names only what it is about."""

from __future__ import annotations

import dataclasses
from typing import Any

from latentcast_worker.protocol import Generate, GenerationParams, InputSizes, PreviewPlan

PARAMS = GenerationParams(
    prompt="a beautiful sunset",
    negative_prompt="blurry, low quality",
    prompt_syntax="weighted",
    num_inference_steps=4,
    width=64,
    height=64,
    seed=7,
    guidance_scale=5.0,
    num_images=1,
    loras=(),
)

PLAN = PreviewPlan(every=1, quality=70, decoder="tae", source="x0")


def a_params(**changes: Any) -> GenerationParams:
    return dataclasses.replace(PARAMS, **changes)


def a_request(
    job_id: str = "job",
    *,
    incarnation: int = 0,
    inputs: InputSizes | None = None,
    preview: PreviewPlan | None = None,
    traceparent: str | None = None,
    **params: Any,
) -> Generate:
    return Generate(
        job_id=job_id,
        incarnation=incarnation,
        params=a_params(**params),
        inputs=inputs or InputSizes(),
        preview=preview,
        traceparent=traceparent,
    )


def job(job_id: str, **changes: Any) -> Generate:
    """A request whose prompt is its id: of a request, models see the parameters only."""
    return a_request(job_id, prompt=job_id, **changes)


def a_plan(**changes: Any) -> PreviewPlan:
    return dataclasses.replace(PLAN, **changes)
