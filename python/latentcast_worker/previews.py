"""The preview service: waits for decoded previews, encodes them and sends them, beside the engine.

The engine gives it at most one preview per job at a time. The next may follow once the message has left the process, so
a peer that does not read holds at most one preview per job in memory.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .codec import Payload
from .jpeg import encode_jpeg
from .model.port import DeviceOutOfMemoryError, NumericalError, PendingPreview, Pixels
from .protocol import FailureCode, ImageSize, JobRef, Preview, Report


@dataclass(frozen=True, slots=True)
class PreviewSent:
    """The preview of this job has left the process."""

    arrival: int


@dataclass(frozen=True, slots=True)
class PreviewFailed:
    """The preview could not be made, for a reason that fails the job."""

    arrival: int
    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class PreviewCrashed:
    """The preview thread met an error that nothing here can explain; the worker must not go on."""

    error: BaseException


PreviewEvent: TypeAlias = PreviewSent | PreviewFailed | PreviewCrashed

PostReport: TypeAlias = Callable[[Report, Payload, Callable[[], None] | None], None]
"""Takes (report, payload frames, what to call once the message has left)."""


@dataclass(frozen=True, slots=True)
class PreviewTask:
    """A preview whose decode began at `started` (monotonic seconds). `arrival` is the job's."""

    arrival: int
    job: JobRef
    step: int
    total_steps: int
    quality: int
    started: float
    pending: PendingPreview


class PreviewService:
    """`notify` gets an event for every submitted preview that was not withdrawn, from another thread."""

    def __init__(self, post: PostReport, notify: Callable[[PreviewEvent], None]) -> None:
        self._post = post
        self._notify = notify
        self._queue: queue.SimpleQueue[PreviewTask | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="previews", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, task: PreviewTask) -> None:
        with self._lock:
            self._live.add(task.arrival)
        self._queue.put(task)

    def withdraw(self, arrival: int) -> None:
        """After this returns no preview of the job will be posted any more."""
        with self._lock:
            self._live.discard(arrival)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                self._deliver(task, task.pending.wait())
            except NumericalError as error:
                self._notify(PreviewFailed(task.arrival, "numerical_error", str(error)))
            except DeviceOutOfMemoryError as error:
                self._notify(PreviewFailed(task.arrival, "out_of_memory", str(error)))
            except Exception as error:  # The thread has no caller: the engine ends the worker.
                self._notify(PreviewCrashed(error))

    def _deliver(self, task: PreviewTask, images: Sequence[Pixels]) -> None:
        jpegs = [encode_jpeg(pixels, task.quality) for pixels in images]
        sizes = tuple(ImageSize(width=pixels.shape[1], height=pixels.shape[0]) for pixels in images)
        seconds = time.monotonic() - task.started
        report = Preview(
            job_id=task.job.job_id,
            incarnation=task.job.incarnation,
            step=task.step,
            total_steps=task.total_steps,
            images=sizes,
            preview_seconds=seconds,
        )
        with self._lock:
            if task.arrival in self._live:
                self._live.discard(task.arrival)
                self._post(report, jpegs, lambda: self._notify(PreviewSent(task.arrival)))
