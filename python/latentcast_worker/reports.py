"""What the engine reports of a job."""

from __future__ import annotations

import numpy as np

from .codec import Payload
from .job import Job
from .model.port import Pixels, S
from .protocol import Cancelled, Failed, FailureCode, ImageSize, Progress, Result, Started


def started(job: Job[S]) -> Started:
    """It has begun, and takes so many steps."""
    ref = job.request
    return Started(job_id=ref.job_id, incarnation=ref.incarnation, total_steps=job.total_steps)


def progress(job: Job[S]) -> Progress:
    """All its images have done the next step."""
    ref = job.request
    return Progress(
        job_id=ref.job_id, incarnation=ref.incarnation, step=job.reported_steps, step_seconds=job.step_seconds
    )


def cancelled(job: Job[S]) -> Cancelled:
    """It was cancelled, after so much time of the device."""
    ref = job.request
    return Cancelled(job_id=ref.job_id, incarnation=ref.incarnation, device_seconds=job.device_seconds)


def failed(job: Job[S], code: FailureCode, message: str, field: str | None) -> Failed:
    """It failed; ``field`` names the parameter that is wrong."""
    ref = job.request
    return Failed(job_id=ref.job_id, incarnation=ref.incarnation, code=code, message=message, field=field)


def result(job: Job[S]) -> tuple[Result, Payload]:
    """Its finished images, as one RGB8 buffer each (height x width x 3)."""
    ref = job.request
    report = Result(
        job_id=ref.job_id,
        incarnation=ref.incarnation,
        images=tuple(ImageSize(width=pixels.shape[1], height=pixels.shape[0]) for pixels in job.images),
        decode_seconds=job.decode_seconds,
        warnings=tuple(job.warnings),
    )
    return report, [_rgb8(pixels) for pixels in job.images]


def _rgb8(pixels: Pixels) -> memoryview:
    """Rows from the top, no padding. The pixels are not copied where they lie like that already."""
    return np.ascontiguousarray(pixels).data.cast("B")
