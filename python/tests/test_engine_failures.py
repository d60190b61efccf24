"""Laws of the engine when something goes wrong: a job fails alone, and what nobody expects ends the worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import pytest

from latentcast_worker.model.port import DeviceOutOfMemoryError, NumericalError, PendingPreview, Pixels
from latentcast_worker.protocol import (
    Failed,
    PreviewPlan,
    Result,
)

from .fakes import SHARED, EngineRun, FakeModel, FakeSample, start_ready_preview
from .requests import a_plan, job


def test_out_of_memory_halves_the_batch_and_loses_no_job() -> None:
    def fail_large(samples: Sequence[FakeSample]) -> None:
        if len(samples) > 1:
            raise DeviceOutOfMemoryError

    model = FakeModel(costs=SHARED, before_step=fail_large)
    run = EngineRun(model)
    run.run(*(job(name, num_inference_steps=6) for name in "abcd"), endings=4)
    assert all(isinstance(run.ending(name), Result) for name in "abcd")
    assert sum(len(call) for call in model.calls) == 4 * 6
    assert model.releases <= 2


def test_a_job_that_does_not_fit_alone_fails_alone() -> None:
    def fail_one(samples: Sequence[FakeSample]) -> None:
        if samples[0].job_id == "big":
            raise DeviceOutOfMemoryError

    run = EngineRun(FakeModel(before_step=fail_one))
    run.run(job("small"), job("big"), endings=2)
    assert isinstance(run.ending("small"), Result)
    ending = run.ending("big")
    assert isinstance(ending, Failed)
    assert ending.code == "out_of_memory"


def test_a_decode_that_runs_out_of_memory_is_tried_again_with_freed_memory() -> None:
    tries: list[int] = []

    def decode(sample: FakeSample) -> Pixels:
        tries.append(sample.index)
        if len(tries) == 1:
            raise DeviceOutOfMemoryError
        return np.zeros((8, 8, 3), np.uint8)

    model = FakeModel(on_decode=decode)
    run = EngineRun(model)
    run.run(job("a"), endings=1)
    assert isinstance(run.ending("a"), Result)
    assert model.releases == 1


def test_an_image_that_is_not_finite_fails_its_job_alone() -> None:
    def decode(sample: FakeSample) -> Pixels:
        if sample.job_id == "nan":
            raise NumericalError("the picture became NaN or infinite")
        return np.zeros((8, 8, 3), np.uint8)

    run = EngineRun(FakeModel(costs=SHARED, on_decode=decode))
    run.run(job("nan"), job("good"), endings=2)
    assert isinstance(run.ending("good"), Result)
    ending = run.ending("nan")
    assert isinstance(ending, Failed)
    assert ending.code == "numerical_error"


def test_a_preview_that_is_not_finite_fails_its_job_at_once() -> None:
    class BrokenPreview:
        def wait(self) -> Sequence[Pixels]:
            raise NumericalError("the picture became NaN or infinite")

    def start_preview(samples: Sequence[FakeSample], plan: PreviewPlan) -> PendingPreview:
        return BrokenPreview() if samples[0].job_id == "nan" else start_ready_preview(samples, plan)

    run = EngineRun(FakeModel(on_preview=start_preview))
    run.run(job("nan", preview=a_plan(), num_inference_steps=50), job("good", preview=a_plan()), endings=2)
    assert isinstance(run.ending("good"), Result)
    assert isinstance(run.ending("nan"), Failed)
    assert run.kinds("nan").count("progress") < 50


def test_a_request_that_the_model_cannot_serve_is_refused_unprepared() -> None:
    run = EngineRun(FakeModel())
    run.run(job("wide", width=72), job("good"), endings=2)
    assert run.of("wide") == [
        Failed(job_id="wide", incarnation=0, code="invalid_request", message="width is too large")
    ]


def test_a_worker_that_is_full_refuses_and_goes_on() -> None:
    run = EngineRun(FakeModel(max_jobs=2))
    run.run(job("a"), job("b"), job("c"), endings=3)
    ending = run.ending("c")
    assert isinstance(ending, Failed)
    assert ending.code == "out_of_memory"
    assert isinstance(run.ending("a"), Result)


def test_images_beyond_the_pixel_limit_are_refused() -> None:
    run = EngineRun(FakeModel())
    run.run(job("huge", num_images=300), endings=1)
    assert isinstance(run.ending("huge"), Failed)


def fail(*_arguments: object) -> NoReturn:
    raise ZeroDivisionError


@pytest.mark.parametrize("model", [FakeModel(before_step=fail), FakeModel(on_preview=fail), FakeModel(on_decode=fail)])
def test_an_error_that_nobody_expects_ends_the_engine(model: FakeModel) -> None:
    with pytest.raises(ZeroDivisionError):
        EngineRun(model).run(job("a", preview=a_plan()), endings=1)


def test_an_error_in_the_preview_thread_ends_the_engine() -> None:
    class CrashingPreview:
        def wait(self) -> Sequence[Pixels]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        EngineRun(FakeModel(on_preview=lambda _samples, _plan: CrashingPreview())).run(
            job("a", preview=a_plan()), endings=1
        )
