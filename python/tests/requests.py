"""A request with defaults, so that a test names only what it is about."""

from __future__ import annotations

import dataclasses
from typing import Any

from latentcast_worker.protocol import Generate, PreviewPlan

BASE = Generate(
    job_id="job",
    epoch=0,
    prompt="a beautiful sunset",
    negative_prompt="blurry, low quality",
    num_inference_steps=4,
    width=64,
    height=64,
    seed=7,
    guidance_scale=5.0,
    num_images=1,
    scheduler=None,
    preview=None,
    traceparent=None,
)

PLAN = PreviewPlan(every=1, max_per_second=None, max_side=None, quality=70, decoder="tae", source="x0")


def a_request(**changes: Any) -> Generate:
    return dataclasses.replace(BASE, **changes)


def job(job_id: str, **changes: Any) -> Generate:
    return a_request(job_id=job_id, **changes)


def a_plan(**changes: Any) -> PreviewPlan:
    return dataclasses.replace(PLAN, **changes)
