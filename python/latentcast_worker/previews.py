"""The preview service: waits for decoded previews, encodes them and sends them, beside the engine.

The engine gives it at most one preview per job at a time (the job's slot). The slot is free again once the message has
left the process, so a peer that does not read holds at most one preview per job in memory.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .jpeg import encode_jpeg
from .model.port import DeviceOutOfMemoryError, NumericalError, PendingPreview, Pixels
from .protocol import FailureCode, ImageSize, JobRef, Preview, Report


@dataclass(frozen=True, slots=True)
class PreviewSent:
    """The slot of this job is free."""

    order: int


@dataclass(frozen=True, slots=True)
class PreviewFailed:
    """The preview could not be made, for a reason that fails the job."""

    order: int
    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class PreviewCrashed:
    """The preview thread met an error that nothing here can explain; the worker must not go on."""

    error: BaseException


PreviewOutcome: TypeAlias = PreviewSent | PreviewFailed | PreviewCrashed

PostReport: TypeAlias = Callable[[Report, Sequence[bytes], Callable[[], None] | None], None]
"""Takes (report, payload frames, what to call once the message has left)."""


@dataclass(frozen=True, slots=True)
class _Order:
    order: int
    job: JobRef
    step: int
    total_steps: int
    quality: int
    started: float
    pending: PendingPreview


class PreviewService:
    """`notify` gets an outcome for every submitted preview that was not withdrawn, from another thread."""

    def __init__(self, post: PostReport, notify: Callable[[PreviewOutcome], None]) -> None:
        self._post = post
        self._notify = notify
        self._queue: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="previews", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(
        self,
        order: int,
        job: JobRef,
        step: int,
        total_steps: int,
        quality: int,
        started: float,
        pending: PendingPreview,
    ) -> None:
        """Takes over a preview whose decode began at `started` (monotonic seconds)."""
        with self._lock:
            self._live.add(order)
        self._queue.put(_Order(order, job, step, total_steps, quality, started, pending))

    def withdraw(self, order: int) -> None:
        """After this returns no preview of the job will be posted any more."""
        with self._lock:
            self._live.discard(order)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._deliver(item, item.pending.wait())
            except NumericalError as error:
                self._notify(PreviewFailed(item.order, "numerical_error", str(error)))
            except DeviceOutOfMemoryError as error:
                self._notify(PreviewFailed(item.order, "out_of_memory", str(error)))
            except Exception as error:  # The thread has no caller: the engine ends the worker.
                self._notify(PreviewCrashed(error))

    def _deliver(self, item: _Order, pictures: Sequence[Pixels]) -> None:
        jpegs = [encode_jpeg(pixels, item.quality) for pixels in pictures]
        sizes = tuple(ImageSize(pixels.shape[1], pixels.shape[0]) for pixels in pictures)
        seconds = time.monotonic() - item.started
        report = Preview(item.job.job_id, item.job.epoch, item.step, item.total_steps, sizes, seconds)
        with self._lock:
            if item.order in self._live:
                self._live.discard(item.order)
                self._post(report, jpegs, lambda: self._notify(PreviewSent(item.order)))
