"""Laws of the engine: what a job is told, in which order, and that it ends once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcast_worker.model.port import PendingPreview, Pixels
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import (
    Cancel,
    Cancelled,
    Failed,
    Preview,
    PreviewPlan,
    Progress,
    Result,
    Shutdown,
)

from .fakes import SHARED, EngineRun, FakeModel, FakeSample
from .requests import a_plan, job


def test_every_step_is_reported_and_the_result_comes_last() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a", num_inference_steps=3), endings=1)
    assert run.kinds("a") == ["started", "progress", "progress", "progress", "result"]
    assert [report.step for report in run.of("a") if isinstance(report, Progress)] == [0, 1, 2]


def test_six_steps_with_a_preview_each_are_six_previews_and_the_result() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a", num_inference_steps=6, preview=a_plan(every=1)), endings=1)
    previews = [report for report in run.of("a") if isinstance(report, Preview)]
    assert [preview.step for preview in previews] == [0, 1, 2, 3, 4, 5]
    assert run.kinds("a")[-1] == "result"


def test_previews_follow_the_cadence() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a", num_inference_steps=20, preview=a_plan(every=5)), endings=1)
    assert [report.step for report in run.of("a") if isinstance(report, Preview)] == [0, 5, 10, 15]


def test_images_of_a_job_share_its_previews_and_its_result() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a", num_images=3, seed=2**32 - 1, num_inference_steps=2, preview=a_plan()), endings=1)
    previews = [report for report in run.of("a") if isinstance(report, Preview)]
    assert [len(preview.images) for preview in previews] == [3, 3]
    result = run.ending("a")
    assert isinstance(result, Result)
    assert len(result.images) == 3
    assert run.payloads[-1] == [np.full((8, 8, 3), index, np.uint8).tobytes() for index in range(3)]


def test_a_newcomer_gets_its_first_steps_before_an_older_job_goes_on() -> None:
    run: EngineRun

    def send_newcomer(samples: Sequence[FakeSample]) -> None:
        if samples[0].job_id == "old" and samples[0].steps_done == 4:
            run.send(job("new", num_inference_steps=5, preview=a_plan(every=5)))

    model = FakeModel(before_step=send_newcomer)
    run = EngineRun(model)
    run.run(job("old", num_inference_steps=8), endings=2)
    order = [call[0] for call in model.calls]
    assert order == ["old"] * 5 + ["new"] * 2 + ["old"] * 3 + ["new"] * 3


@pytest.mark.parametrize("at_step", [0, 3])
def test_a_cancelled_job_does_not_step_again(at_step: int) -> None:
    run: EngineRun

    def cancel(samples: Sequence[FakeSample]) -> None:
        if samples[0].steps_done == at_step:
            run.send(Cancel(job_id="a", incarnation=0))

    model = FakeModel(before_step=cancel)
    run = EngineRun(model)
    run.run(job("a", num_inference_steps=8), endings=1)
    assert len(model.calls) == at_step + 1
    assert isinstance(run.ending("a"), Cancelled)
    assert run.kinds("a").count("progress") == at_step + 1


def test_a_job_cancelled_while_it_waits_never_touches_the_device() -> None:
    model = FakeModel()
    run = EngineRun(model)
    run.run(job("a"), Cancel(job_id="a", incarnation=0), endings=1)
    assert model.calls == []
    assert run.kinds("a") == ["cancelled"]


def test_cancels_of_unknown_and_finished_jobs_are_ignored() -> None:
    run = EngineRun(FakeModel())
    run.run(Cancel(job_id="ghost", incarnation=0), job("a"), endings=1)
    assert run.kinds("a")[-1] == "result"
    assert run.of("ghost") == []


def test_the_same_generate_twice_is_one_job() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a"), job("a"), endings=1)
    assert run.kinds("a").count("started") == 1


def test_no_preview_follows_the_end_of_its_job() -> None:
    """The preview is in the making when its job is cancelled, and done only after the engine has said so."""
    cancelled = threading.Event()

    class LatePreview:
        def wait(self) -> Sequence[Pixels]:
            assert cancelled.wait(10)
            return [np.zeros((8, 8, 3), np.uint8)]

    run: EngineRun

    def start_preview(_samples: Sequence[FakeSample], _plan: PreviewPlan) -> PendingPreview:
        run.send(Cancel(job_id="a", incarnation=0), job("b"))
        return LatePreview()

    def release(samples: Sequence[FakeSample]) -> None:
        if samples[0].job_id == "b":
            assert isinstance(run.ending("a"), Cancelled)
            cancelled.set()

    run = EngineRun(FakeModel(on_preview=start_preview, before_step=release))
    run.run(job("a", preview=a_plan()), endings=2)
    assert run.kinds("a") == ["started", "progress", "cancelled"]


class HeldPreviews:
    """Keeps previews from being sent until a test lets the first one go; from then on they all go."""

    def __init__(self) -> None:
        self._held: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._released = False

    def take(self, sent: Callable[[], None]) -> None:
        if self._released:
            sent()
        else:
            self._held.put(sent)

    def release(self) -> None:
        sent = self._held.get(timeout=10)
        self._released = True
        sent()


def test_a_job_waits_for_its_preview_in_flight_and_others_go_on() -> None:
    held = HeldPreviews()

    def release_at_the_end(samples: Sequence[FakeSample]) -> None:
        if samples[0].job_id == "quick" and samples[0].steps_done == 9:
            # One step more than the one whose preview has not been sent: the next preview may not follow yet.
            assert sum("slow" in call for call in model.calls) == 2
            held.release()

    model = FakeModel(before_step=release_at_the_end)
    run = EngineRun(model, take_sent=held.take)
    run.run(job("slow", num_inference_steps=4, preview=a_plan()), job("quick", num_inference_steps=10), endings=2)
    assert run.kinds("slow").count("preview") == 4
    assert run.kinds("slow")[-1] == "result"


def test_the_result_waits_until_the_last_preview_has_left() -> None:
    held = HeldPreviews()
    run: EngineRun

    def release_at_the_end(samples: Sequence[FakeSample]) -> None:
        if samples[0].job_id == "other" and samples[0].steps_done == 9:
            assert "result" not in run.kinds("a")
            held.release()

    run = EngineRun(FakeModel(before_step=release_at_the_end), take_sent=held.take)
    run.run(job("a", num_inference_steps=1, preview=a_plan()), job("other", num_inference_steps=10), endings=2)
    assert run.kinds("a") == ["started", "progress", "preview", "result"]


def test_jobs_of_one_shape_share_calls() -> None:
    model = FakeModel(costs=SHARED)
    EngineRun(model).run(*(job(name, num_inference_steps=6) for name in "abcd"), endings=4)
    assert max(len(call) for call in model.calls) == 4
    assert len(model.calls) < 4 * 6


def test_an_exact_engine_never_shares_a_call() -> None:
    model = FakeModel()
    EngineRun(model).run(*(job(name, num_images=2) for name in "abc"), endings=3)
    assert {len(call) for call in model.calls} == {1}


def test_a_shutdown_ends_after_the_current_iteration() -> None:
    run: EngineRun

    def shut_down(samples: Sequence[FakeSample]) -> None:
        if samples[0].steps_done == 2:
            run.send(Shutdown())

    model = FakeModel(before_step=shut_down)
    run = EngineRun(model)
    run.run(job("a", num_inference_steps=50), endings=1)
    assert len(model.calls) == 3


def test_every_piece_of_work_counts_as_an_iteration() -> None:
    run = EngineRun(FakeModel())
    run.run(job("a", num_inference_steps=3), job("b", num_inference_steps=2), endings=2)
    prepared = decoded = 2
    assert run.telemetry.iterations == prepared + 3 + 2 + decoded


@given(
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    cancels=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8),
    shared=st.booleans(),
    previews=st.booleans(),
)
def test_every_job_ends_exactly_once(
    steps: list[int], cancels: list[tuple[int, int]], *, shared: bool, previews: bool
) -> None:
    run: EngineRun

    def cancel(_samples: Sequence[FakeSample]) -> None:
        run.send(*(Cancel(job_id=str(index), incarnation=0) for call, index in cancels if call == len(model.calls)))

    model = FakeModel(costs=SHARED if shared else CallCosts.solo(), before_step=cancel)
    run = EngineRun(model)
    plan = a_plan(every=2) if previews else None
    run.run(
        *(job(str(index), num_inference_steps=count, preview=plan) for index, count in enumerate(steps)),
        endings=len(steps),
    )
    for index, count in enumerate(steps):
        reports = run.of(str(index))
        assert isinstance(reports[-1], Result | Cancelled)
        assert sum(isinstance(report, Result | Failed | Cancelled) for report in reports) == 1
        if isinstance(reports[-1], Result):
            assert run.kinds(str(index)).count("preview") == (len(range(0, count, 2)) if previews else 0)
