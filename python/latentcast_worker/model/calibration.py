"""Measures a step at load: the first estimate of the queue's speed, and whether sharing a UNet call pays here."""

from __future__ import annotations

import time
from dataclasses import replace

from ..policy import CallCosts
from ..protocol import Generate, PreviewPlan
from .memory import memory_guard
from .port import DeviceOutOfMemoryError
from .sdxl import SdxlModel

REPEATS = 3
COUNTS = (2, 4)


def calibrate(model: SdxlModel, max_batch: int | None) -> SdxlModel:
    """Warms every part up at the native size and returns the model with measured costs.

    `max_batch` 1 is exact mode; None tries the counts that are worth trying and keeps those that fit into memory.
    """
    _warm_up(model)
    points = {1: _step_seconds(model, 1)}
    counts = COUNTS if max_batch is None else tuple(range(2, max_batch + 1))
    for count in counts:
        try:
            points[count] = _step_seconds(model, count)
        except DeviceOutOfMemoryError:
            model.release_memory()
            break
    costs = CallCosts.measured(points)
    return replace(model, costs=costs, capabilities=replace(model.capabilities, max_batch=costs.max_batch))


def _warm_up(model: SdxlModel) -> None:
    """One whole picture with previews of each kind, so that no first request pays for lazy set-up."""
    samples = model.prepare(_request(model, 1))
    model.step(samples)
    for decoder in model.capabilities.preview_decoders:
        model.start_preview(samples, PreviewPlan(1, None, None, 70, decoder, "x0")).wait()
    model.decode(samples[0])


def _step_seconds(model: SdxlModel, count: int) -> float:
    """Seconds of a call with `count` samples: the fastest of a few, because disturbances only add."""
    samples = model.prepare(_request(model, count))
    seconds: list[float] = []
    with memory_guard():
        for _ in range(REPEATS + 1):  # The first call of a shape also chooses kernels.
            began = time.perf_counter()
            model.step(samples)
            seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _request(model: SdxlModel, images: int) -> Generate:
    return Generate(
        job_id="calibration",
        epoch=0,
        prompt="calibration",
        negative_prompt="",
        num_inference_steps=REPEATS + 1,
        width=model.info.native_width,
        height=model.info.native_height,
        seed=0,
        guidance_scale=5.0,
        num_images=images,
        scheduler=None,
        preview=None,
        traceparent=None,
    )
