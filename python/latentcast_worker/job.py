"""A job as data: what was asked for, how far it is, and what it still owes. Nothing here knows a device."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic

from .inputs import InputImages, executed_steps
from .model.port import Encoded, Fetched, Pixels, S
from .policy import JobView, PreviewState
from .protocol import Generate, GenerationParams, PreviewPlan


@dataclass(slots=True)
class PreviewCadence:
    """Decides which finished steps get a preview."""

    plan: PreviewPlan
    last_due: float | None = None

    def is_due(self, step: int, now: float) -> bool:
        """True for the steps 0, every, 2*every ...; then no faster than the plan's rate. `now` in seconds."""
        if step % self.plan.every != 0:
            return False
        rate = self.plan.max_per_second
        if rate is not None and self.last_due is not None and now - self.last_due < 1 / rate:
            return False
        self.last_due = now
        return True


@dataclass(slots=True)
class Job(Generic[S]):
    """One request on its way through the engine."""

    arrival: int
    request: Generate
    inputs: InputImages
    cadence: PreviewCadence | None = None
    model: str = ""
    """By its name."""
    needs_model: bool = False
    """Its model was not loaded when the job came, or is not any more."""
    overtaken: int = 0
    """How many younger jobs have begun while it waited for its model."""
    is_started: bool = False
    fetching: Future[Any] | None = None
    """Until what the job needs beside the model is loaded."""
    fetched: Fetched | None = None
    encoded: Encoded | None = None
    samples: Sequence[S] = ()
    warnings: Sequence[str] = ()
    images: list[Pixels] = field(default_factory=list[Pixels])
    reported_steps: int = 0
    step_seconds: float = 0.0
    denoise_seconds: float = 0.0
    decode_seconds: float = 0.0
    cancelled: bool = False
    preview: PreviewState = "none"

    @property
    def params(self) -> GenerationParams:
        return self.request.params

    @property
    def total_steps(self) -> int:
        """Steps that run: fewer than were asked for where an image is the start."""
        return self.samples[0].total_steps if self.samples else executed_steps(self.params)

    @property
    def steps_done(self) -> int:
        """Steps that all images of the job have done."""
        return min((sample.steps_done for sample in self.samples), default=0)

    @property
    def is_complete(self) -> bool:
        """True once every image is decoded and no preview is on its way: the result may be sent."""
        return 0 < len(self.samples) == len(self.images) and self.preview == "none"

    @property
    def device_seconds(self) -> float:
        return self.denoise_seconds + self.step_seconds + self.decode_seconds

    def preview_falls_due(self) -> None:
        self.preview = "due" if self.preview == "none" else "due_behind_another"

    def preview_has_left(self) -> None:
        self.preview = "due" if self.preview == "due_behind_another" else "none"

    def view(self, batch_limit: int) -> JobView:
        return JobView(
            arrival=self.arrival,
            shape=self.samples[0].shape if self.samples else (0, 0),
            total_steps=self.total_steps,
            steps_done=tuple(sample.steps_done for sample in self.samples),
            decoded=len(self.images),
            cancelled=self.cancelled,
            has_previews=self.cadence is not None,
            preview=self.preview,
            is_fetching=self.fetching is not None,
            needs_encode=self.inputs.image is not None and self.encoded is None,
            batch_limit=batch_limit,
            model=self.model,
            needs_model=self.needs_model,
            overtaken=self.overtaken,
        )
