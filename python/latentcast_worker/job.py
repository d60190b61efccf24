"""A job as data: what was asked for, how far it is, and what it still owes. Nothing here knows a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from .model.port import Pixels, S
from .policy import JobView
from .protocol import Generate, JobRef, PreviewPlan


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

    order: int
    request: Generate
    received: float
    cadence: PreviewCadence | None = None
    samples: Sequence[S] = ()
    images: list[Pixels] = field(default_factory=list[Pixels])
    first_step: float | None = None
    reported_steps: int = 0
    step_seconds: float = 0.0
    denoise_seconds: float = 0.0
    decode_seconds: float = 0.0
    cancelled: bool = False
    preview_due: bool = False
    slot_busy: bool = False

    @property
    def ref(self) -> JobRef:
        return JobRef(self.request.job_id, self.request.epoch)

    @property
    def steps_done(self) -> int:
        """Steps that all images of the job have done."""
        return min((sample.steps_done for sample in self.samples), default=0)

    @property
    def is_complete(self) -> bool:
        """True once every picture is decoded and no preview is on its way: the result may be sent."""
        return 0 < len(self.samples) == len(self.images) and not self.preview_due and not self.slot_busy

    @property
    def device_seconds(self) -> float:
        return self.denoise_seconds + self.step_seconds + self.decode_seconds

    def view(self, batch_limit: int) -> JobView:
        return JobView(
            order=self.order,
            shape=self.samples[0].shape if self.samples else (0, 0),
            total_steps=self.request.num_inference_steps,
            steps_done=tuple(sample.steps_done for sample in self.samples),
            decoded=len(self.images),
            cancelled=self.cancelled,
            preview_pending=self.preview_due,
            preview_slot_free=not self.slot_busy,
            batch_limit=batch_limit,
        )
