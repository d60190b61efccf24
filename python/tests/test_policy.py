"""Laws of the policy, and the queue model that it was chosen by, run on the real code."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcast_worker.policy import (
    EARLY_STEPS,
    MAX_EARLY_ITERATIONS,
    MAX_OVERTAKING,
    CallCosts,
    Decode,
    Encode,
    Iteration,
    JobView,
    Leave,
    Load,
    MakePreview,
    Prepare,
    PreviewState,
    Step,
    is_early,
    is_preview_due,
    next_iteration,
)

SOLO = CallCosts.solo()
SHARED = CallCosts((1.0, 1.2, 1.4, 1.6))


def a_job(arrival: int, **changes: object) -> JobView:
    base = JobView(arrival=arrival, shape=(8, 8), total_steps=10, steps_done=(5,))
    return dataclasses.replace(base, **changes)


def choose(jobs: Sequence[JobView], costs: CallCosts, early_iterations: int = 0) -> Iteration | None:
    """Of jobs of one model."""
    return next_iteration(jobs, {"": costs}, early_iterations)


def test_without_jobs_there_is_nothing_to_do() -> None:
    assert choose([], SOLO) is None


def test_cancelled_jobs_leave_first() -> None:
    jobs = [a_job(1, steps_done=()), a_job(2, preview="due"), a_job(3, cancelled=True)]
    assert choose(jobs, SOLO) == Leave(3)


def test_a_due_preview_comes_before_the_next_step() -> None:
    assert choose([a_job(1), a_job(2, preview="due")], SOLO) == MakePreview(2)


def test_a_job_with_a_preview_due_behind_another_waits_and_others_go_on() -> None:
    blocked = a_job(1, preview="due_behind_another")
    assert choose([blocked, a_job(2)], SOLO) == Step(((2, 0),))
    assert choose([blocked], SOLO) is None


def test_a_job_goes_on_while_its_preview_is_on_the_way() -> None:
    assert choose([a_job(1, preview="in_flight")], SOLO) == Step(((1, 0),))


def test_the_last_preview_does_not_hold_up_the_decode() -> None:
    waiting = a_job(1, steps_done=(10,), preview="due_behind_another")
    assert choose([waiting], SOLO) == Decode(1, 0)


def test_a_newcomer_overtakes() -> None:
    assert choose([a_job(1), a_job(2, steps_done=())], SOLO) == Prepare(2)
    assert choose([a_job(1), a_job(2, steps_done=(0,))], SOLO) == Step(((2, 0),))
    assert choose([a_job(1), a_job(2, steps_done=(EARLY_STEPS - 1,))], SOLO) == Step(((2, 0),))
    assert choose([a_job(1), a_job(2, steps_done=(EARLY_STEPS,))], SOLO) == Step(((1, 0),))


def test_a_newcomer_without_previews_waits_until_it_is_the_oldest() -> None:
    newcomer = a_job(2, has_previews=False, steps_done=())
    assert choose([a_job(1, steps_done=(5,)), newcomer], SOLO) == Step(((1, 0),))
    assert choose([newcomer, a_job(3, steps_done=(5,))], SOLO) == Prepare(2)


def test_a_newcomer_without_previews_begins_when_calls_have_room() -> None:
    oldest = a_job(1, steps_done=(5,), batch_limit=4)
    newcomers = [a_job(arrival, has_previews=False, steps_done=()) for arrival in (2, 3)]
    shared = CallCosts((1.0, 1.1))
    assert choose([oldest, *newcomers], shared) == Prepare(2)
    begun = a_job(2, has_previews=False, steps_done=(0,))
    assert choose([oldest, begun, newcomers[1]], shared) == Step(((1, 0), (2, 0)))


def test_among_newcomers_the_one_with_fewest_steps_is_first() -> None:
    assert choose([a_job(1, steps_done=(1,)), a_job(2, steps_done=(0,))], SOLO) == Step(((2, 0),))


def test_the_oldest_goes_first_whatever_it_needs() -> None:
    assert choose([a_job(2), a_job(1, steps_done=(10,))], SOLO) == Decode(1, 0)
    assert choose([a_job(1), a_job(2, steps_done=(10,))], SOLO) == Step(((1, 0),))


def test_images_of_a_job_go_step_by_step_together() -> None:
    assert choose([a_job(1, steps_done=(5, 5, 5))], SOLO) == Step(((1, 0),))
    assert choose([a_job(1, steps_done=(6, 5, 5))], SOLO) == Step(((1, 1),))
    pairs = CallCosts((1.0, 1.1))
    assert choose([a_job(1, steps_done=(6, 6, 5), batch_limit=2)], pairs) == Step(((1, 2),))


def test_images_are_decoded_one_at_a_time() -> None:
    assert choose([a_job(1, steps_done=(10, 10), decoded=1)], SOLO) == Decode(1, 1)


def test_jobs_of_equal_shape_share_a_call_when_it_pays() -> None:
    jobs = [a_job(1), a_job(2, shape=(8, 16)), a_job(3, steps_done=(7,)), a_job(4)]
    jobs = [dataclasses.replace(job, batch_limit=8) for job in jobs]
    assert choose(jobs, SHARED) == Step(((1, 0), (3, 0), (4, 0)))
    assert choose(jobs, CallCosts((1.0, 1.8, 2.7, 3.6))) == Step(((1, 0),))
    assert choose(jobs, SOLO) == Step(((1, 0),))


def test_a_newcomers_early_steps_are_shared_with_newcomers_only() -> None:
    old, newcomer, another = a_job(1), a_job(2, steps_done=(0,)), a_job(3, steps_done=(1,))
    jobs = [dataclasses.replace(job, batch_limit=4) for job in (old, newcomer, another)]
    assert choose(jobs[:2], SHARED) == Step(((2, 0),))
    assert choose(jobs, SHARED) == Step(((2, 0), (3, 0)))
    waiting = a_job(4, has_previews=False, steps_done=())
    assert choose([*jobs, waiting], SHARED) == Step(((2, 0), (3, 0)))


def test_no_call_is_larger_than_memory_allows() -> None:
    jobs = [a_job(arrival, batch_limit=2) for arrival in range(4)]
    assert choose(jobs, SHARED) == Step(((0, 0), (1, 0)))


def test_an_endless_stream_of_newcomers_lets_the_oldest_pass() -> None:
    jobs = [a_job(1), a_job(2, steps_done=())]
    assert choose(jobs, SOLO, early_iterations=MAX_EARLY_ITERATIONS) == Step(((1, 0),))


@pytest.mark.parametrize(
    ("points", "seconds"),
    [({1: 1.0}, (1.0,)), ({1: 1.0, 2: 1.5}, (1.0, 1.5)), ({1: 1.0, 2: 1.5, 4: 2.5}, (1.0, 1.5, 2.0, 2.5))],
)
def test_costs_between_measurements_are_linear(points: dict[int, float], seconds: tuple[float, ...]) -> None:
    assert CallCosts.measured(points).seconds == pytest.approx(seconds)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), st.integers(1, 8))
def test_a_shared_call_is_cheaper_per_sample_than_a_solo_one(seconds: list[float], available: int) -> None:
    count = CallCosts(tuple(seconds)).best_count(available)
    assert 1 <= count <= available
    assert count == 1 or seconds[count - 1] / count < seconds[0]


views = st.builds(
    JobView,
    arrival=st.integers(0, 1000),
    shape=st.sampled_from([(8, 8), (8, 16)]),
    total_steps=st.just(4),
    needs_encode=st.booleans(),
    steps_done=st.integers(0, 4).flatmap(
        lambda done: st.sampled_from([(), (done,), (done, done), (min(done + 1, 4), done)])
    ),
    decoded=st.just(0),
    cancelled=st.booleans(),
    preview=st.sampled_from(get_args(PreviewState)),
    batch_limit=st.integers(1, 4),
)


@given(st.lists(views, max_size=8, unique_by=lambda view: view.arrival), st.integers(0, MAX_EARLY_ITERATIONS))
def test_every_iteration_is_work_that_its_job_may_do(jobs: list[JobView], early_iterations: int) -> None:
    by_arrival = {job.arrival: job for job in jobs}
    match choose(jobs, SHARED, early_iterations):
        case None:
            assert not any(job.cancelled for job in jobs)
            assert all(job.preview == "due_behind_another" for job in jobs)
        case Leave(arrival):
            assert by_arrival[arrival].cancelled
        case Load():
            raise AssertionError("every model is loaded")
        case Encode(arrival) | Prepare(arrival) as begun:
            assert by_arrival[arrival].steps_done == ()
            assert by_arrival[arrival].needs_encode == isinstance(begun, Encode)
        case MakePreview(arrival):
            assert by_arrival[arrival].preview == "due"
        case Decode(arrival, sample):
            assert min(by_arrival[arrival].steps_done) == by_arrival[arrival].total_steps
            assert sample == by_arrival[arrival].decoded
        case Step(samples):
            chosen = [by_arrival[arrival] for arrival, _ in samples]
            assert len({job.shape for job in chosen}) == 1
            assert len(set(samples)) == len(samples) <= chosen[0].batch_limit
            for job, (_, index) in zip(chosen, samples, strict=True):
                assert job.steps_done[index] == min(job.steps_done) < job.total_steps
                assert not is_preview_due(job.preview)
            assert not any(job.cancelled for job in jobs)


@dataclass(slots=True)
class _Waiting:
    arrived: float
    first_preview: float = 0.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    latency: float
    first_preview: float


STEPS = 30


def simulate(arrivals: list[float], costs: CallCosts) -> list[_Outcome]:
    """Runs 30-step jobs through the policy: a solo step takes 1, all else no time. Outcomes in order of arrival."""
    now, early_iterations, arrived = 0.0, 0, 0
    jobs: dict[int, JobView] = {}
    waiting: dict[int, _Waiting] = {}
    outcomes: dict[int, _Outcome] = {}
    while len(outcomes) < len(arrivals):
        if not jobs:
            now = max(now, arrivals[arrived])
        while arrived < len(arrivals) and arrivals[arrived] <= now:
            jobs[arrived] = JobView(arrived, (8, 8), STEPS, (), batch_limit=len(costs.seconds))
            waiting[arrived] = _Waiting(arrivals[arrived])
            arrived += 1
        match choose(list(jobs.values()), costs, early_iterations):
            case Prepare(arrival):
                jobs[arrival] = dataclasses.replace(jobs[arrival], steps_done=(0,))
            case Step(samples):
                early_iterations = early_iterations + 1 if is_early(jobs[samples[0][0]]) and len(jobs) > 1 else 0
                now += costs.seconds[len(samples) - 1]
                for arrival, _ in samples:
                    (done,) = jobs[arrival].steps_done
                    jobs[arrival] = dataclasses.replace(jobs[arrival], steps_done=(done + 1,))
                    if done == 0:
                        waiting[arrival].first_preview = now - waiting[arrival].arrived
            case Decode(arrival):
                del jobs[arrival]
                ended = waiting.pop(arrival)
                outcomes[arrival] = _Outcome(now - ended.arrived, ended.first_preview)
            case other:
                raise AssertionError(f"{other} cannot happen here")
    return [outcomes[arrival] for arrival in sorted(outcomes)]


def first_come_first_served(arrivals: list[float]) -> float:
    """The mean latency of one job after the other."""
    free, latencies = 0.0, list[float]()
    for arrival in arrivals:
        free = max(free, arrival) + STEPS
        latencies.append(free - arrival)
    return mean(latencies)


def poisson_arrivals(load: float, count: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    now, arrivals = 0.0, list[float]()
    for _ in range(count):
        now += draw.expovariate(load / STEPS)
        arrivals.append(now)
    return arrivals


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_first_previews_come_at_once_for_little_mean_latency(load: float) -> None:
    arrivals = poisson_arrivals(load, count=1000, seed=1)
    outcomes = simulate(arrivals, SOLO)
    assert mean(outcome.first_preview for outcome in outcomes) <= 3
    assert mean(outcome.latency for outcome in outcomes) <= 1.08 * first_come_first_served(arrivals)


def test_sharing_calls_shortens_the_queue() -> None:
    arrivals = poisson_arrivals(0.8, count=500, seed=2)
    shared = simulate(arrivals, SHARED)
    assert mean(outcome.latency for outcome in shared) < 0.6 * first_come_first_served(arrivals)
    assert mean(outcome.first_preview for outcome in shared) <= 1.5


def test_where_sharing_hardly_pays_a_first_preview_does_not_wait_for_it() -> None:
    """Costs of a GPU that one image fills already."""
    shared = simulate(poisson_arrivals(0.8, count=500, seed=2), CallCosts((1.0, 1.7, 2.55, 3.4)))
    assert mean(outcome.first_preview for outcome in shared) <= 2


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=20).map(
        lambda gaps: [sum(gaps[: index + 1]) for index in range(len(gaps))]
    )
)
def test_nobody_starves(arrivals: list[float]) -> None:
    """A job ends no later than all work that came before it, plus what newcomers may take while it runs."""
    for arrival, outcome in enumerate(simulate(arrivals, SOLO)):
        ahead = STEPS * (arrival + 1)
        overtaking = EARLY_STEPS * (len(arrivals) - arrival - 1)
        assert outcome.latency <= ahead + overtaking + 1


def test_a_model_is_loaded_when_no_job_has_begun() -> None:
    waiting = a_job(2, steps_done=(), needs_model=True, model="b")
    assert choose([waiting], SOLO) == Load(2)
    assert choose([a_job(1), waiting], SOLO) == Step(((1, 0),))
    assert choose([a_job(1, steps_done=(10,), decoded=0), waiting], SOLO) == Decode(1, 0)
    assert choose([a_job(1, steps_done=(10,), decoded=1, preview="in_flight"), waiting], SOLO) is None


def test_a_few_younger_jobs_go_ahead_of_one_whose_model_is_not_loaded() -> None:
    newcomer = a_job(3, steps_done=())
    waiting = a_job(2, steps_done=(), needs_model=True, model="b")
    assert choose([waiting, newcomer], SOLO) == Prepare(3)
    patient = dataclasses.replace(waiting, overtaken=MAX_OVERTAKING)
    assert choose([patient, newcomer], SOLO) == Load(2)
    assert choose([a_job(1, steps_done=()), patient, newcomer], SOLO) == Prepare(1)


def test_a_job_that_fetches_its_loras_keeps_its_model() -> None:
    waiting = a_job(2, steps_done=(), needs_model=True, model="b", overtaken=MAX_OVERTAKING)
    assert choose([a_job(1, steps_done=(), is_fetching=True), waiting], SOLO) is None
    assert choose([waiting, a_job(3, steps_done=(), is_fetching=True)], SOLO) == Load(2)


def test_the_oldest_job_that_waits_decides_which_model_is_loaded() -> None:
    jobs = [a_job(arrival, steps_done=(), needs_model=True, model=str(arrival)) for arrival in (4, 3)]
    assert choose(jobs, SOLO) == Load(3)


def test_images_of_different_models_do_not_share_a_call() -> None:
    jobs = [a_job(arrival, model=model, batch_limit=4) for arrival, model in ((1, "a"), (2, "b"), (3, "a"))]
    costs = {"a": SHARED, "b": SOLO}
    assert next_iteration(jobs, costs) == Step(((1, 0), (3, 0)))
    assert next_iteration(jobs[1:], costs) == Step(((2, 0),))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=1, max_size=8), st.integers(0, 12))
def test_work_never_stops_while_jobs_have_some(kinds: list[tuple[str, bool]], overtaken: int) -> None:
    jobs = [
        a_job(arrival, steps_done=(5,) if has_begun and model == "a" else (), model=model, needs_model=model == "b")
        for arrival, (model, has_begun) in enumerate(kinds)
    ]
    views = [dataclasses.replace(job, overtaken=overtaken) if job.needs_model else job for job in jobs]
    assert next_iteration(views, {"a": SOLO}) is not None
