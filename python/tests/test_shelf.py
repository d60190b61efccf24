"""Several models in one worker: which are loaded, who makes room, and what an engine makes of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from latentcast_worker.model.port import DeviceOutOfMemoryError, LoadError
from latentcast_worker.policy import MAX_OVERTAKING, CallCosts
from latentcast_worker.protocol import Failed, Generate, Models, Result, ServedModel, UnservedModel
from latentcast_worker.shelf import RETRY_SECONDS, Candidate, SeveralModels

from .fakes import INFO, EngineRun, FakeModel, FakeSample
from .requests import job

GIB = 1 << 30


@dataclass(slots=True)
class Machine:
    """A device of `size` bytes on which models take what they say, and what has been loaded on it, in order."""

    size: int = 3 * GIB
    clock: float = 0.0
    loads: list[str] = field(default_factory=list[str])
    held: dict[str, int] = field(default_factory=dict[str, int])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    models: dict[str, list[FakeModel]] = field(default_factory=dict[str, "list[FakeModel]"])

    def room(self) -> int | None:
        return self.size - sum(self.held.values())

    def release_memory(self) -> None:
        for name, models in self.models.items():
            if all(model.is_closed for model in models):
                self.held.pop(name, None)

    def candidate(self, name: str, needs: int = GIB, **changes: Any) -> Candidate[FakeSample]:
        info = replace(INFO, id=name)

        def load() -> FakeModel:
            self.loads.append(name)
            self.clock += 5
            if name in self.failures:
                raise self.failures[name]
            if needs > (self.room() or 0):
                raise LoadError("out_of_memory", f"{name} does not fit")
            self.held[name] = needs
            model = FakeModel(info=info, **changes)
            self.models.setdefault(name, []).append(model)
            return model

        served = ServedModel(model=info, capabilities=FakeModel().capabilities, is_loaded=False)
        return Candidate(served, load, needs)

    def shelf(self, *candidates: Candidate[FakeSample]) -> SeveralModels[FakeSample]:
        shelf = SeveralModels(candidates, (), self, lambda: self.clock)
        shelf.load_first()
        return shelf


def a_job(job_id: str, model: str | None = None, **changes: Any) -> Generate:
    return job(job_id, model=model, **changes)


def loaded(shelf: SeveralModels[Any]) -> list[str]:
    return [served.model.id for served in shelf.report.models if served.is_loaded]


# The shelf


def test_as_many_models_as_have_room_stay_loaded() -> None:
    machine = Machine()
    shelf = machine.shelf(*(machine.candidate(name) for name in "abcd"))
    shelf.load("b")
    shelf.load("c")
    assert loaded(shelf) == ["a", "b", "c"]
    shelf.use("a")
    shelf.load("d")
    assert loaded(shelf) == ["a", "c", "d"]


def test_a_large_model_takes_the_place_of_several() -> None:
    machine = Machine()
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"), machine.candidate("large", 3 * GIB))
    shelf.load("b")
    shelf.load("large")
    assert loaded(shelf) == ["large"]
    assert all(model.is_closed for name in "ab" for model in machine.models[name])


def test_a_model_that_needs_more_than_was_estimated_gets_all_there_is() -> None:
    machine = Machine()
    greedy = replace(machine.candidate("b", 3 * GIB), needed_bytes=1)
    shelf = machine.shelf(machine.candidate("a"), greedy)
    shelf.load("b")
    assert loaded(shelf) == ["b"]
    assert machine.loads == ["a", "b", "b"]


def test_where_the_system_says_nothing_of_its_memory_all_models_stay() -> None:
    machine = Machine(size=100 * GIB)
    shelf = SeveralModels([machine.candidate(name) for name in "ab"], (), Silent())
    shelf.load("a")
    shelf.load("b")
    assert loaded(shelf) == ["a", "b"]


class Silent:
    def room(self) -> int | None:
        return None

    def release_memory(self) -> None:
        return


def test_the_first_model_that_can_be_loaded_is_that_of_requests_which_name_none() -> None:
    machine = Machine(failures={"a": LoadError("model_invalid", "a is cut off")})
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"))
    assert shelf.find(None) == "b"
    assert shelf.find("a") is None
    assert shelf.report.unserved == (UnservedModel(id="a", problem="a is cut off"),)


def test_a_worker_none_of_whose_models_can_be_loaded_says_what_the_first_lacks() -> None:
    machine = Machine(failures={name: LoadError("model_invalid", f"{name} is cut off") for name in "ab"})
    with pytest.raises(LoadError, match="a is cut off"):
        machine.shelf(machine.candidate("a"), machine.candidate("b"))


def test_what_was_measured_while_loading_is_reported() -> None:
    machine = Machine()
    shelf = machine.shelf(machine.candidate("a", costs=CallCosts((0.25,))), machine.candidate("b"))
    first, second = shelf.report.models
    assert (first.step_seconds, first.load_seconds, first.is_loaded) == (0.25, 5, True)
    assert (second.step_seconds, second.load_seconds, second.is_loaded) == (None, None, False)


def test_a_model_that_cannot_be_loaded_is_tried_again_after_a_while() -> None:
    machine = Machine(failures={"b": RuntimeError("size mismatch")})
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"))
    for _ in range(2):
        with pytest.raises(LoadError, match="b: RuntimeError: size mismatch"):
            shelf.load("b")
    assert machine.loads == ["a", "b"]
    assert shelf.report.models[1].problem == "b: RuntimeError: size mismatch"
    machine.failures.clear()
    machine.clock += RETRY_SECONDS
    shelf.load("b")
    assert loaded(shelf) == ["a", "b"]
    assert shelf.report.models[1].problem is None


# The engine


def models_reported(run: EngineRun) -> list[list[str]]:
    reports = [report for report in run.reports if isinstance(report, Models)]
    return [[served.model.id for served in report.models if served.is_loaded] for report in reports]


def test_a_job_loads_its_model_and_is_drawn_with_it() -> None:
    machine = Machine()
    run = EngineRun(machine.shelf(machine.candidate("a"), machine.candidate("b")))
    run.run(a_job("1", "b"), a_job("2"), endings=2)
    assert [isinstance(run.ending(name), Result) for name in "12"] == [True, True]
    assert machine.models["b"][0].calls == [["1"]] * 4
    assert machine.models["a"][0].calls == [["2"]] * 4
    assert models_reported(run) == [["a", "b"]]


def test_a_swap_waits_until_the_jobs_that_have_begun_are_done() -> None:
    machine = Machine(size=GIB)
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"))
    run = EngineRun(shelf)
    arrived: list[Generate] = []

    def on_step(_samples: Any) -> None:
        if not arrived:
            arrived.append(a_job("2", "b"))
            run.send(*arrived)

    machine.models["a"][0].before_step = on_step
    run.run(a_job("1", "a"), endings=2)
    assert isinstance(run.ending("1"), Result)
    assert isinstance(run.ending("2"), Result)
    kinds = [(report.type, getattr(report, "job_id", "")) for report in run.reports]
    assert kinds.index(("result", "1")) < kinds.index(("models", "")) < kinds.index(("started", "2"))


def test_jobs_of_two_models_that_take_turns_all_end() -> None:
    machine = Machine(size=GIB)
    run = EngineRun(machine.shelf(machine.candidate("a"), machine.candidate("b")))
    jobs = [a_job(str(number), "ab"[number % 2]) for number in range(40)]
    run.run(*jobs, endings=40)
    assert all(isinstance(run.ending(str(number)), Result) for number in range(40))
    # Eight go ahead at a time: far fewer swaps than jobs.
    assert len(machine.loads) < 12


def test_jobs_of_two_loaded_models_take_turns_without_loading() -> None:
    machine = Machine()
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"))
    shelf.load("b")
    run = EngineRun(shelf)
    run.run(*(a_job(str(number), "ab"[number % 2]) for number in range(6)), endings=6)
    assert machine.loads == ["a", "b"]
    assert models_reported(run) == []


def test_a_model_that_cannot_be_loaded_fails_its_own_jobs_and_no_others() -> None:
    machine = Machine(failures={"b": LoadError("model_invalid", "b is cut off")})
    run = EngineRun(machine.shelf(machine.candidate("a"), machine.candidate("b")))
    run.run(a_job("1", "b"), a_job("2", "a"), a_job("3", "b"), endings=3)
    assert isinstance(run.ending("2"), Result)
    for name in "13":
        ending = run.ending(name)
        assert isinstance(ending, Failed)
        assert (ending.code, ending.message) == ("model_unavailable", "b is cut off")


def test_a_model_that_is_not_there_is_refused_by_its_field() -> None:
    machine = Machine()
    run = EngineRun(machine.shelf(machine.candidate("a"), machine.candidate("b")))
    run.run(a_job("1", "c"), endings=1)
    ending = run.ending("1")
    assert isinstance(ending, Failed)
    assert (ending.code, ending.field) == ("invalid_request", "model")


def test_what_a_model_refuses_is_refused_once_it_is_loaded() -> None:
    machine = Machine()
    run = EngineRun(machine.shelf(machine.candidate("a"), machine.candidate("b")))
    run.run(a_job("1", "b", width=128), endings=1)
    ending = run.ending("1")
    assert isinstance(ending, Failed)
    assert ending.code == "invalid_request"


def test_an_idle_model_is_given_up_before_a_job_fails_for_want_of_memory() -> None:
    machine = Machine()
    shelf = machine.shelf(machine.candidate("a"), machine.candidate("b"))
    shelf.load("b")
    run = EngineRun(shelf)

    def on_step(_samples: Any) -> None:
        if "a" in machine.held:
            raise DeviceOutOfMemoryError("full")

    machine.models["b"][0].before_step = on_step
    run.run(a_job("1", "b"), endings=1)
    assert isinstance(run.ending("1"), Result)
    assert loaded(shelf) == ["b"]


def test_files_of_a_job_are_fetched_again_for_a_model_that_comes_back() -> None:
    machine = Machine(size=GIB)
    fetched: list[Future[Any]] = []

    def fetch(params: Any, _progress: Callable[[], None]) -> Future[Any] | None:
        if params.prompt != "with files":
            return None
        fetched.append(Future())
        if len(fetched) > 1:
            fetched[-1].set_result("files")
        return fetched[-1]

    run = EngineRun(machine.shelf(machine.candidate("a", on_fetch=fetch), machine.candidate("b")))
    ahead = [a_job(str(number), "a") for number in range(MAX_OVERTAKING)]
    run.run(a_job("b", "b"), *ahead, a_job("with files", "a"), endings=MAX_OVERTAKING + 2)
    assert isinstance(run.ending("with files"), Result)
    assert fetched[0].cancelled()
    assert machine.models["a"][-1].fetched == ["files"]
