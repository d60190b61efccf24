"""A model without torch, and an engine run to its end on the calling thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from latentcast_worker.codec import EngineCommand, Payload
from latentcast_worker.engine import Arrival, Engine, EngineEvent
from latentcast_worker.inputs import InputImages, executed_steps
from latentcast_worker.job import Job
from latentcast_worker.model.port import (
    Encoded,
    Fetched,
    InvalidRequestError,
    Model,
    ModelShelf,
    PendingPreview,
    Pixels,
)
from latentcast_worker.policy import EARLY_STEPS, CallCosts, Shape
from latentcast_worker.protocol import (
    PREVIEW_DECODERS,
    Cancelled,
    Capabilities,
    DeviceInfo,
    Failed,
    GenerationParams,
    ModelInfo,
    PreviewPlan,
    Report,
    Result,
    Shutdown,
)
from latentcast_worker.shelf import OneModel
from latentcast_worker.telemetry import Telemetry

INFO = ModelInfo(
    id="fake",
    native_width=64,
    native_height=64,
    min_side=8,
    max_side=64,
    default_steps=20,
    default_guidance_scale=5.0,
    prediction_type="epsilon",
    is_noise=True,
    takes_loras=False,
    examples=(),
)
DEVICE = DeviceInfo(id="cpu", name="none", memory_bytes=0, dtype="none")
SHARED = CallCosts((1.0, 1.1, 1.2, 1.3))
"""Costs of a device on which sharing a call pays."""


@dataclass(slots=True, eq=False)
class FakeSample:
    """`job_id` is the prompt, see `requests.job`."""

    job_id: str
    index: int
    total_steps: int
    shape: Shape
    steps_done: int = 0


def nothing(_value: object) -> None:
    return


def fetch_nothing(_params: GenerationParams, _progress: Callable[[], None]) -> None:
    return None


@dataclass(slots=True)
class ReadyPreview:
    pictures: Sequence[Pixels]

    def wait(self) -> Sequence[Pixels]:
        return self.pictures


def start_ready_preview(samples: Sequence[FakeSample], _plan: PreviewPlan) -> PendingPreview:
    return ReadyPreview([np.zeros((8, 8, 3), np.uint8) for _ in samples])


def decode_grey(sample: FakeSample) -> Pixels:
    return np.full((8, 8, 3), sample.index, np.uint8)


@dataclass(slots=True)
class FakeModel:
    """Counts steps. The hooks let a test fail a call, or put something into the inbox while it runs."""

    costs: CallCosts = field(default_factory=CallCosts.solo)
    before_step: Callable[[Sequence[FakeSample]], None] = nothing
    on_preview: Callable[[Sequence[FakeSample], PreviewPlan], PendingPreview] = start_ready_preview
    on_decode: Callable[[FakeSample], Pixels] = decode_grey
    on_encode: Callable[[InputImages], None] = nothing
    on_fetch: Callable[[GenerationParams, Callable[[], None]], Future[Any] | None] = fetch_nothing
    max_jobs: int = 64
    prepared_with: list[Encoded | None] = field(default_factory=list["Encoded | None"])
    fetched: list[Fetched | None] = field(default_factory=list["Fetched | None"])
    calls: list[list[str]] = field(default_factory=list[list[str]])
    releases: int = 0
    is_closed: bool = False
    info: ModelInfo = INFO
    device: DeviceInfo = DEVICE

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            preview_decoders=PREVIEW_DECODERS,
            max_batch=self.costs.max_batch,
            max_jobs=self.max_jobs,
            max_pixels=1 << 20,
            early_steps=EARLY_STEPS,
        )

    def check(self, params: GenerationParams) -> None:
        if params.width > self.info.max_side:
            raise InvalidRequestError("width is too large")

    def warnings(self, params: GenerationParams) -> Sequence[str]:
        return [f"{params.prompt} was read"] if params.prompt == "with a warning" else []

    def encode(self, inputs: InputImages) -> Encoded:
        self.on_encode(inputs)
        return inputs

    def fetch(self, params: GenerationParams, progress: Callable[[], None]) -> Future[Any] | None:
        return self.on_fetch(params, progress)

    def prepare(
        self, params: GenerationParams, encoded: Encoded | None = None, fetched: Fetched | None = None
    ) -> Sequence[FakeSample]:
        self.prepared_with.append(encoded)
        self.fetched.append(fetched)
        shape = (params.height, params.width)
        steps = executed_steps(params)
        return [FakeSample(params.prompt, index, steps, shape) for index in range(params.num_images)]

    def step(self, samples: Sequence[FakeSample]) -> None:
        self.before_step(samples)
        self.calls.append([sample.job_id for sample in samples])
        for sample in samples:
            sample.steps_done += 1

    def start_preview(self, samples: Sequence[FakeSample], plan: PreviewPlan) -> PendingPreview:
        return self.on_preview(samples, plan)

    def decode(self, sample: FakeSample) -> Pixels:
        return self.on_decode(sample)

    def release_memory(self) -> None:
        self.releases += 1

    def device_memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True


def call(action: Callable[[], None]) -> None:
    action()


def shelf_of(model: Model[Any] | ModelShelf[Any]) -> ModelShelf[Any]:
    return cast("ModelShelf[Any]", model) if hasattr(model, "find") else OneModel(cast("Model[Any]", model))


class EngineRun:
    """An engine, its inbox and all that it posted. `take_sent` gets what tells the engine that a preview has left."""

    def __init__(
        self, model: Model[Any] | ModelShelf[Any], take_sent: Callable[[Callable[[], None]], None] = call
    ) -> None:
        self.inbox: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        self.reports: list[Report] = []
        self.payloads: list[Payload] = []
        self.telemetry = Telemetry()
        self._take_sent = take_sent
        self._endings_left = 0
        self._engine = Engine(shelf_of(model), self.inbox, self._post, self.telemetry)

    def send(self, *commands: EngineCommand) -> None:
        for command in commands:
            self.inbox.put(Arrival(command))

    def send_with_payload(self, command: EngineCommand, payload: Sequence[bytes]) -> None:
        self.inbox.put(Arrival(command, payload))

    def jobs(self) -> Sequence[Job[Any]]:
        """What the engine holds; to be called on its thread."""
        return list(self._engine._jobs.values())  # pyright: ignore[reportPrivateUsage]

    def run(self, *commands: EngineCommand, endings: int) -> None:
        """Sends the commands and runs until `endings` jobs have ended."""
        self._endings_left = endings
        self.send(*commands)
        self._engine.run()

    def of(self, job_id: str) -> list[Report]:
        """The reports about one job."""
        return [report for report in self.reports if getattr(report, "job_id", None) == job_id]

    def kinds(self, job_id: str) -> list[str]:
        return [report.type for report in self.of(job_id)]

    def ending(self, job_id: str) -> Report:
        (ending,) = (report for report in self.of(job_id) if isinstance(report, Result | Failed | Cancelled))
        return ending

    def _post(self, report: Report, payload: Payload, sent: Callable[[], None] | None) -> None:
        self.reports.append(report)
        self.payloads.append(payload)
        if sent is not None:
            self._take_sent(sent)
        if isinstance(report, Result | Failed | Cancelled):
            self._endings_left -= 1
            if self._endings_left == 0:
                self.send(Shutdown())
