"""The real engine on the calling thread, without a socket: requests in, when each report came out."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentcast_worker.codec import Payload
from latentcast_worker.engine import Arrival, Engine, EngineEvent
from latentcast_worker.protocol import (
    Cancel,
    Cancelled,
    Failed,
    Generate,
    Preview,
    Progress,
    Report,
    Result,
    Shutdown,
)
from latentcast_worker.shelf import OneModel
from latentcast_worker.telemetry import Telemetry


@dataclass(slots=True)
class JobTimes:
    """Seconds since the first requests were handed over."""

    arrived: float = 0.0
    cancelled: float = float("nan")
    """When its cancellation was put into the inbox."""
    ended: float = float("nan")
    steps: list[float] = field(default_factory=list[float])
    previews: list[float] = field(default_factory=list[float])
    preview_seconds: list[float] = field(default_factory=list[float])
    """From the start of each preview's decoding to the JPEG."""

    @property
    def step_seconds(self) -> float:
        """Mean from the end of one step to that of the next."""
        return (self.steps[-1] - self.steps[0]) / (len(self.steps) - 1)


@dataclass(frozen=True, slots=True)
class Later:
    """A command that is sent `delay` seconds after the reports have told of `steps` steps in all."""

    steps: int
    delay: float
    command: Generate | Cancel


def run_engine(model: Any, requests: Sequence[Generate], later: Sequence[Later] = ()) -> Mapping[str, JobTimes]:
    """The requests on a worker with one model; see `run_shelf`."""
    return run_shelf(OneModel(model), requests, later)


def run_shelf(shelf: Any, requests: Sequence[Generate], later: Sequence[Later] = ()) -> Mapping[str, JobTimes]:
    """Runs the requests, which arrive together, and those that come later. Raises RuntimeError when one fails.

    The keys are the ids of the jobs, which have to differ.
    """
    inbox: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
    jobs = {request.job_id: JobTimes() for request in requests}
    coming = [entry.command for entry in later if isinstance(entry.command, Generate)]
    problems: list[str] = []
    steps = 0
    endings = 0
    began = time.monotonic()

    def send(command: Generate | Cancel) -> None:
        now = time.monotonic()
        if isinstance(command, Generate):
            jobs[command.job_id] = JobTimes(arrived=now - began)
        else:
            jobs[command.job_id].cancelled = now - began
        inbox.put(Arrival(command))

    def post(report: Report, _payload: Payload, sent: Callable[[], None] | None) -> None:
        nonlocal steps, endings
        now = time.monotonic() - began
        match report:
            case Progress():
                jobs[report.job_id].steps.append(now)
                steps += 1
                for entry in later:
                    if entry.steps == steps:
                        threading.Timer(entry.delay, send, [entry.command]).start()
            case Preview():
                jobs[report.job_id].previews.append(now)
                jobs[report.job_id].preview_seconds.append(report.preview_seconds)
            case Result() | Failed() | Cancelled():
                jobs[report.job_id].ended = now
                endings += 1
                if isinstance(report, Failed):
                    problems.append(f"{report.code}: {report.message}")
                if endings == len(requests) + len(coming):
                    inbox.put(Arrival(Shutdown()))
            case _:
                pass
        if sent is not None:
            sent()

    for each in requests:
        inbox.put(Arrival(each))
    Engine(shelf, inbox, post, Telemetry()).run()
    if problems:
        raise RuntimeError("; ".join(problems))
    return jobs


def run_one(model: Any, request: Generate, later: Sequence[Later] = ()) -> JobTimes:
    """One job and nothing else."""
    return run_engine(model, [request], later)[request.job_id]
