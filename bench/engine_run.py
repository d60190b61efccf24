"""The real engine on the calling thread, without a socket: requests in, when each report came out."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from latentcast_worker.engine import Arrival, Engine, EngineEvent
from latentcast_worker.protocol import Cancelled, Failed, Generate, Preview, Progress, Report, Result, Shutdown
from latentcast_worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Seconds since the requests were handed over."""

    steps: Sequence[float]
    previews: Sequence[float]
    results: Sequence[float]

    @property
    def step_seconds(self) -> float:
        """Mean from the end of one step to that of the next."""
        return (self.steps[-1] - self.steps[0]) / (len(self.steps) - 1)


def run_engine(model: Any, requests: Sequence[Generate]) -> RunTimes:
    """Runs the requests, which arrive together. Raises RuntimeError when one of them fails."""
    inbox: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
    steps: list[float] = []
    previews: list[float] = []
    results: list[float] = []
    problems: list[str] = []
    began = time.monotonic()

    def post(report: Report, _payload: Sequence[bytes], sent: Callable[[], None] | None) -> None:
        now = time.monotonic() - began
        match report:
            case Progress():
                steps.append(now)
            case Preview():
                previews.append(now)
            case Result() | Failed() | Cancelled():
                results.append(now)
                if isinstance(report, Failed):
                    problems.append(f"{report.code}: {report.message}")
                if len(results) == len(requests):
                    inbox.put(Arrival(Shutdown()))
            case _:
                pass
        if sent is not None:
            sent()

    for each in requests:
        inbox.put(Arrival(each))
    Engine(model, inbox, post, Telemetry()).run()
    if problems:
        raise RuntimeError("; ".join(problems))
    return RunTimes(steps, previews, results)
