"""The step engine: many jobs held as data, one iteration of device work at a time, chosen by the policy.

Everything that happens to a job happens on the engine thread, between iterations. Other threads only fill the inbox.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, assert_never

from . import reports
from .capacity import room_problem
from .codec import EngineCommand, Payload
from .inputs import InputImages, inputs_problem
from .job import Job, PreviewCadence
from .model.port import (
    DeviceOutOfMemoryError,
    InvalidRequestError,
    LoadError,
    Model,
    ModelShelf,
    NumericalError,
    S,
)
from .policy import Decode, Encode, Iteration, Leave, Load, MakePreview, Prepare, Shape, Step, is_early, next_iteration
from .previews import PostReport, PreviewCrashed, PreviewEvent, PreviewFailed, PreviewSent, PreviewService, PreviewTask
from .protocol import Cancel, FailureCode, Generate, Report, Shutdown
from .telemetry import Telemetry

T = TypeVar("T")

OUT_OF_MEMORY = "the device ran out of memory"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A command with its payload."""

    command: EngineCommand
    payload: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class FetchEnded:
    """What a job needs beside the model is loaded, or cannot be."""

    arrival: int


EngineEvent: TypeAlias = Arrival | PreviewEvent | FetchEnded


class Engine(Generic[S]):
    """Runs jobs on the models of `shelf` until a Shutdown arrives.

    Events enter through `inbox`; reports leave through `post`.
    """

    def __init__(
        self, shelf: ModelShelf[S], inbox: queue.SimpleQueue[EngineEvent], post: PostReport, telemetry: Telemetry
    ) -> None:
        self._shelf = shelf
        self._inbox = inbox
        self._post_frames = post
        self._telemetry = telemetry
        self._previews = PreviewService(post, inbox.put)
        self._jobs: dict[int, Job[S]] = {}
        self._arrivals = 0
        self._early_iterations = 0
        self._batch_limits: dict[tuple[str, Shape], int] = {}
        self._stopping = False

    def run(self) -> None:
        """Returns after the iteration during which a Shutdown arrived. Jobs that are still held get no more reports."""
        self._previews.start()
        try:
            while True:
                self._read_inbox()
                if self._stopping:
                    return
                iteration = self._choose_iteration()
                if iteration is None:
                    self._handle(self._inbox.get())
                else:
                    self._take(iteration)
                    self._telemetry.note_work()
        finally:
            self._previews.stop()

    def _choose_iteration(self) -> Iteration | None:
        views = [job.view(self._batch_limit(job)) for job in self._jobs.values()]
        iteration = next_iteration(views, self._shelf.costs, self._early_iterations)
        if isinstance(iteration, Encode | Prepare | Step):
            leader = iteration.samples[0][0] if isinstance(iteration, Step) else iteration.arrival
            early = any(view.arrival == leader and is_early(view) for view in views)
            self._early_iterations = self._early_iterations + 1 if early and len(views) > 1 else 0
        return iteration

    # Events

    def _read_inbox(self) -> None:
        while not self._stopping:
            try:
                event = self._inbox.get_nowait()
            except queue.Empty:
                return
            self._handle(event)

    def _handle(self, event: EngineEvent) -> None:
        match event:
            case Arrival(command, payload):
                self._obey(command, payload)
            case PreviewSent(arrival):
                if job := self._jobs.get(arrival):
                    job.preview_has_left()
                    self._finish_if_complete(job)
            case PreviewFailed(arrival, code, message):
                if job := self._jobs.get(arrival):
                    self._fail(job, code, message)
            case FetchEnded(arrival):
                if job := self._jobs.get(arrival):
                    self._take_fetched(job)
            case PreviewCrashed(error):
                raise error
            case _:
                assert_never(event)

    def _obey(self, command: EngineCommand, payload: Sequence[bytes]) -> None:
        match command:
            case Generate():
                self._admit(command, payload)
            case Cancel(job_id=job_id):
                for job in self._jobs.values():
                    if job.request.job_id == job_id:
                        job.cancelled = True
            case Shutdown():
                self._stopping = True
            case _:
                assert_never(command)

    def _admit(self, request: Generate, payload: Sequence[bytes]) -> None:
        if any(job.request.job_id == request.job_id for job in self._jobs.values()):
            return  # The same message twice: one job, one ending.
        self._arrivals += 1
        cadence = None if request.preview is None else PreviewCadence(request.preview)
        name = self._shelf.find(request.params.model)
        images = InputImages.read(request.inputs, payload)
        job: Job[S] = Job(self._arrivals, request, images, cadence, model=name or "")
        self._jobs[job.arrival] = job
        if name is None:
            self._fail(job, "invalid_request", f"there is no model {request.params.model}", "model")
            return
        if (
            problem := room_problem([held.params for held in self._jobs.values()], self._shelf.capabilities)
        ) is not None:
            self._fail(job, "out_of_memory", problem)
            return
        if (problem := inputs_problem(request.params, request.inputs)) is not None:
            self._fail(job, "invalid_request", problem)
            return
        model = self._shelf.loaded(name)
        if model is None:
            job.needs_model = True
        else:
            self._fit(job, model)

    def _fit(self, job: Job[S], model: Model[S]) -> None:
        """Checks a job that has its model, and begins to load what it needs beside it."""
        job.needs_model = False
        try:
            model.check(job.params)
            job.fetching = model.fetch(job.params, self._telemetry.note_work)
        except InvalidRequestError as error:
            self._fail(job, "invalid_request", str(error), error.field)
            return
        if job.fetching is not None:
            arrival = job.arrival
            job.fetching.add_done_callback(lambda _: self._inbox.put(FetchEnded(arrival)))

    def _take_fetched(self, job: Job[S]) -> None:
        if job.fetching is None or not job.fetching.done():
            return  # Its model was dropped meanwhile.
        try:
            job.fetched = job.fetching.result()
        except InvalidRequestError as error:
            self._fail(job, "invalid_request", str(error), error.field)
        except DeviceOutOfMemoryError:
            self._model_of(job).release_memory()
            self._fail(job, "out_of_memory", OUT_OF_MEMORY)
        job.fetching = None

    # Iterations

    def _take(self, iteration: Iteration) -> None:
        match iteration:
            case Leave(arrival):
                job = self._jobs[arrival]
                self._end(job, reports.cancelled(job))
            case Load(arrival):
                self._load(self._jobs[arrival].model)
            case Encode(arrival):
                self._encode(self._jobs[arrival])
            case Prepare(arrival):
                self._prepare(self._jobs[arrival])
            case MakePreview(arrival):
                self._make_preview(self._jobs[arrival])
            case Step(samples):
                self._step(samples)
            case Decode(arrival, index):
                self._decode(self._jobs[arrival], index)
            case _:
                assert_never(iteration)

    def _model_of(self, job: Job[S]) -> Model[S]:
        model = self._shelf.loaded(job.model)
        assert model is not None
        return model

    def _load(self, name: str) -> None:
        """Loads a model, perhaps in the place of another. No job has begun now."""
        try:
            self._shelf.load(name)
        except LoadError as error:
            for job in [job for job in self._jobs.values() if job.model == name]:
                self._fail(job, "model_unavailable", str(error))
        self._after_a_change()

    def _after_a_change(self) -> None:
        """Tells which models are loaded, and looks at the jobs whose model has come or gone."""
        if (report := self._shelf.report) is not None:
            self._post(report)
        for job in list(self._jobs.values()):
            model = self._shelf.loaded(job.model)
            if model is None and not job.needs_model:
                job.needs_model = True
                self._forget_fetched(job)
            elif model is not None and job.needs_model:
                self._fit(job, model)

    def _forget_fetched(self, job: Job[S]) -> None:
        if job.fetching is not None:
            job.fetching.cancel()
        job.fetching = job.fetched = None

    def _encode(self, job: Job[S]) -> None:
        self._start(job)
        job.encoded = self._with_memory(job, lambda: self._model_of(job).encode(job.inputs))

    def _start(self, job: Job[S]) -> None:
        if job.is_started:
            return
        job.is_started = True
        self._shelf.use(job.model)
        for other in self._jobs.values():
            if other.needs_model and other.arrival < job.arrival:
                other.overtaken += 1
        self._post(reports.started(job))

    def _prepare(self, job: Job[S]) -> None:
        self._start(job)
        job.warnings = self._model_of(job).warnings(job.params)
        samples = self._with_memory(job, lambda: self._model_of(job).prepare(job.params, job.encoded, job.fetched))
        if samples is not None:
            job.samples = samples

    def _step(self, chosen: Sequence[tuple[int, int]]) -> None:
        jobs = [self._jobs[arrival] for arrival, _ in chosen]
        samples = [job.samples[index] for job, (_, index) in zip(jobs, chosen, strict=True)]
        began = time.monotonic()
        fits = False
        with contextlib.suppress(DeviceOutOfMemoryError):
            self._model_of(jobs[0]).step(samples)
            fits = True
        if not fits:
            self._make_room(jobs, samples)
            return
        ended = time.monotonic()
        for job in jobs:
            job.step_seconds += (ended - began) / len(jobs)
        for job in dict.fromkeys(job.arrival for job in jobs):
            self._report_step(self._jobs[job], ended)

    def _make_room(self, jobs: Sequence[Job[S]], samples: Sequence[S]) -> None:
        """After a step that did not fit: calls of this shape get smaller; a job that fills one alone has to go."""
        # Not inside an except block: the error's traceback holds on to the tensors of the failed call.
        self._model_of(jobs[0]).release_memory()
        if self._drop_idle_models():
            return
        if len(samples) > 1:
            self._batch_limits[jobs[0].model, samples[0].shape] = len(samples) // 2
        else:
            self._fail(jobs[0], "out_of_memory", OUT_OF_MEMORY)

    def _report_step(self, job: Job[S], now: float) -> None:
        """Tells of a step once all images of the job have done it."""
        if job.steps_done == job.reported_steps:
            return
        step = job.reported_steps
        self._post(reports.progress(job))
        job.reported_steps += 1
        job.denoise_seconds += job.step_seconds
        job.step_seconds = 0.0
        if job.cadence is not None and job.cadence.is_due(step, now):
            job.preview_falls_due()

    def _make_preview(self, job: Job[S]) -> None:
        assert job.cadence is not None
        plan = job.cadence.plan
        began = time.monotonic()
        pending = self._with_memory(job, lambda: self._model_of(job).start_preview(job.samples, plan))
        if pending is None:
            return
        job.preview = "in_flight"
        self._previews.submit(
            PreviewTask(
                arrival=job.arrival,
                job=job.request,
                step=job.reported_steps - 1,
                total_steps=job.total_steps,
                quality=plan.quality,
                started=began,
                pending=pending,
            )
        )

    def _decode(self, job: Job[S], index: int) -> None:
        began = time.monotonic()
        pixels = self._with_memory(job, lambda: self._model_of(job).decode(job.samples[index]))
        if pixels is None:
            return
        job.decode_seconds += time.monotonic() - began
        job.images.append(pixels)
        self._finish_if_complete(job)

    def _with_memory(self, job: Job[S], work: Callable[[], T]) -> T | None:
        """Runs device work of one job, a second time with freed memory if it ran out. None if the job failed."""
        for _ in range(2):
            try:
                return work()
            except DeviceOutOfMemoryError:
                pass
            except NumericalError as error:
                self._fail(job, "numerical_error", str(error))
                return None
            self._model_of(job).release_memory()
            self._drop_idle_models()
        self._fail(job, "out_of_memory", OUT_OF_MEMORY)
        return None

    def _drop_idle_models(self) -> bool:
        """Gives up the models that no begun job needs. True if there were any."""
        in_use = {job.model for job in self._jobs.values() if job.is_started}
        if not self._shelf.drop_all_but(in_use):
            return False
        self._after_a_change()
        return True

    # Endings

    def _finish_if_complete(self, job: Job[S]) -> None:
        if not job.is_complete or job.cancelled:
            return
        self._end(job, *reports.result(job))

    def _fail(self, job: Job[S], code: FailureCode, message: str, field: str | None = None) -> None:
        self._end(job, reports.failed(job, code, message, field))

    def _end(self, job: Job[S], report: Report, payload: Payload = ()) -> None:
        """The one way out: no preview of the job can follow its last report."""
        self._previews.withdraw(job.arrival)
        if job.fetching is not None:
            job.fetching.cancel()
        del self._jobs[job.arrival]
        self._post(report, payload)

    def _post(self, report: Report, payload: Payload = ()) -> None:
        self._post_frames(report, payload, None)

    def _batch_limit(self, job: Job[S]) -> int:
        shape = job.samples[0].shape if job.samples else (0, 0)
        model = self._shelf.loaded(job.model)
        most = 1 if model is None else model.capabilities.max_batch
        return self._batch_limits.get((job.model, shape), most)
