"""The policy: which piece of device work comes next. Pure: views in, one iteration out; no clock, no torch, no state.

1. Cancelled jobs leave.
2. Previews that are due are made: the step they show has just finished, and their job cannot go on before.
3. Newcomers with previews get their first steps at once, fewest steps first, so that a first preview comes after about
   1.5 steps. At load 0.8 that costs 3-6 % of mean latency, where plain first-come-first-served makes them wait for 60
   steps. A job without previews gains nothing from an early start and would only make others later: it begins when it
   is the oldest, or when shared calls have room for it.
4. The oldest job goes on: steps, then its decodes, one at a time.
5. A model is loaded when no job has begun, so that it takes the place of another between jobs. Until then a few jobs
   that came later and have their model go ahead: loading takes longer than an image, and each change back as long.

A UNet call starts with the sample that is next by these rules and is filled up with samples of the same model and
equal latent shape, in the same order, as far as the measured costs say that sharing pays. The early steps of newcomers
are shared with newcomers only: filled up, a call takes up to three times as long, and at load 0.8 a first preview would
come after 3 steps instead of 1.8, for 2-5 % of mean latency.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

EARLY_STEPS = 2

# Early iterations in a row before the oldest job gets one. A burst of newcomers is over long before; only an endless
# stream of them (clients that connect and leave) gets this far, and must not stop those that stay.
MAX_EARLY_ITERATIONS = 32

# Jobs that begin ahead of an older one whose model has to be loaded first.
MAX_OVERTAKING = 8

# A shared call must be this much cheaper per image than a solo one: it makes everyone in it wait for the slowest.
BATCH_MUST_SAVE = 0.15

Shape: TypeAlias = tuple[int, ...]
"""Latent height and width, and whatever else the samples of one call must have in common."""

PreviewState = Literal["none", "due", "in_flight", "due_behind_another"]
"""A preview that is due has to be made before the job's next step, and only after the one in flight has left.

A job has at most one in flight. `due_behind_another` is both: the next is due while the last is still on its way.
"""


@dataclass(frozen=True, slots=True)
class JobView:
    """What the policy sees of one job. `arrival` counts the jobs of this worker and names this one."""

    arrival: int
    shape: Shape
    total_steps: int
    steps_done: tuple[int, ...]
    """Steps done per sample; empty until the job is prepared. Samples of a job stay within one step of each other."""
    decoded: int = 0
    cancelled: bool = False
    has_previews: bool = True
    preview: PreviewState = "none"
    is_fetching: bool = False
    """What it needs is being loaded elsewhere: it waits, and others go on."""
    needs_encode: bool = False
    """It starts from an image that has not been encoded yet."""
    batch_limit: int = 1
    """Most samples of this shape in one call, as far as memory allows."""
    model: str = ""
    needs_model: bool = False
    """Its model is not loaded."""
    overtaken: int = 0
    """How many younger jobs have begun while it waited for its model."""


@dataclass(frozen=True, slots=True)
class Leave:
    arrival: int


@dataclass(frozen=True, slots=True)
class Load:
    """The model of this job."""

    arrival: int


@dataclass(frozen=True, slots=True)
class Encode:
    arrival: int


@dataclass(frozen=True, slots=True)
class Prepare:
    arrival: int


@dataclass(frozen=True, slots=True)
class MakePreview:
    arrival: int


@dataclass(frozen=True, slots=True)
class Step:
    samples: tuple[tuple[int, int], ...]
    """(arrival of the job, index of the sample) of every row pair in the call."""


@dataclass(frozen=True, slots=True)
class Decode:
    arrival: int
    sample: int


Iteration: TypeAlias = Leave | Load | Encode | Prepare | MakePreview | Step | Decode


@dataclass(frozen=True, slots=True)
class CallCosts:
    """Seconds of a UNet call by the number of samples in it; `seconds[0]` is a solo call."""

    seconds: tuple[float, ...]

    @classmethod
    def solo(cls) -> CallCosts:
        """Exact mode: no call is ever shared."""
        return cls((1.0,))

    @classmethod
    def measured(cls, points: Mapping[int, float]) -> CallCosts:
        """From measurements at some counts, 1 among them; between them the cost is taken to be linear."""
        counts = sorted(points)
        seconds: list[float] = []
        for low, high in itertools.pairwise(counts):
            slope = (points[high] - points[low]) / (high - low)
            seconds.extend(points[low] + slope * step for step in range(high - low))
        return cls((*seconds, points[counts[-1]]))

    @property
    def max_batch(self) -> int:
        """Samples that may share a call, when enough of them wait."""
        return self.best_count(len(self.seconds))

    def best_count(self, available: int) -> int:
        """How many of `available` samples to put into one call: the count that is cheapest per sample, or 1."""
        each = [cost / count for count, cost in enumerate(self.seconds[:available], start=1)]
        best = min(range(len(each)), key=each.__getitem__)
        return best + 1 if each[best] <= (1 - BATCH_MUST_SAVE) * each[0] else 1


def next_iteration(
    jobs: Sequence[JobView], costs: Mapping[str, CallCosts], early_iterations: int = 0
) -> Iteration | None:
    """The next iteration, or None when every job waits, for its preview in flight or its files, or there is no job.

    `costs` are those of the loaded models by name. `early_iterations` counts the iterations in a row that newcomers
    have just had.
    """
    for job in jobs:
        if job.cancelled:
            return Leave(job.arrival)
    for job in jobs:
        if job.preview == "due":
            return MakePreview(job.arrival)
    waiting = min((job for job in jobs if job.needs_model), key=lambda job: job.arrival, default=None)
    free = [job for job in jobs if _may_go_on(job, waiting)]
    ranked = _ranked(free, early_first=early_iterations < MAX_EARLY_ITERATIONS)
    if not ranked:
        if waiting is None or any(job.steps_done or job.is_fetching for job in free):
            return None
        return Load(waiting.arrival)
    leader = ranked[0]
    if not leader.steps_done:
        return _begin(leader)
    if min(leader.steps_done) >= leader.total_steps:
        return Decode(leader.arrival, leader.decoded)
    ranked = [job for job in ranked if job.model == leader.model]
    company = [job for job in ranked if is_early(job)] if is_early(leader) else ranked
    joining = _joining(company, costs[leader.model])
    return _fill_call(leader, company, costs[leader.model]) if joining is None else _begin(joining)


def _may_go_on(job: JobView, waiting: JobView | None) -> bool:
    """Whether a job has its model and, if another waits for one, either has begun or may begin before that."""
    if job.needs_model:
        return False
    has_begun = len(job.steps_done) > 0
    return has_begun or waiting is None or job.arrival < waiting.arrival or waiting.overtaken < MAX_OVERTAKING


def _begin(job: JobView) -> Encode | Prepare:
    """An image is encoded in an iteration of its own: it costs about a third of a step, and others may go between."""
    return Encode(job.arrival) if job.needs_encode else Prepare(job.arrival)


def is_preview_due(state: PreviewState) -> bool:
    return state in ("due", "due_behind_another")


def is_early(job: JobView) -> bool:
    """True while the job is a newcomer with previews: not prepared yet, or short of its early steps."""
    return job.has_previews and _steps(job) < min(EARLY_STEPS, job.total_steps)


def _steps(job: JobView) -> int:
    return min(job.steps_done, default=0)


def _ranked(jobs: Sequence[JobView], *, early_first: bool) -> list[JobView]:
    """The jobs that have work which may run now, the most urgent first."""

    def rank(job: JobView) -> tuple[int, int, int]:
        if is_early(job) and early_first:
            return (0, _steps(job), job.arrival)
        return (1, 0, job.arrival)

    return sorted((job for job in jobs if _has_work(job)), key=rank)


def _has_work(job: JobView) -> bool:
    if job.cancelled or job.is_fetching or (is_preview_due(job.preview) and _steps(job) < job.total_steps):
        return False
    return not job.steps_done or _steps(job) < job.total_steps or job.decoded < len(job.steps_done)


def _joining(ranked: Sequence[JobView], costs: CallCosts) -> JobView | None:
    """The next job to begin where the samples that have begun do not fill a call."""
    begun = sum(len(job.steps_done) for job in ranked if _steps(job) < job.total_steps)
    if begun >= costs.max_batch:
        return None
    return next((job for job in ranked if not job.steps_done), None)


def _fill_call(leader: JobView, ranked: Sequence[JobView], costs: CallCosts) -> Step:
    waiting = [(job.arrival, index) for job in ranked if job.shape == leader.shape for index in _samples_to_step(job)]
    count = costs.best_count(min(len(waiting), leader.batch_limit))
    return Step(tuple(waiting[:count]))


def _samples_to_step(job: JobView) -> Iterator[int]:
    """The samples that are behind. A job's images go step by step together, so a preview shows one step of all."""
    behind = _steps(job)
    if job.steps_done and behind < job.total_steps:
        yield from (index for index, steps in enumerate(job.steps_done) if steps == behind)
