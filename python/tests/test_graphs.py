"""When a call is captured into a CUDA graph, and what happens when it cannot be: the bookkeeping, without a device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from latentcast_worker.model.acceleration_graphs import CALLS_BEFORE_CAPTURE, MAX_GRAPHS, Graphs

ONE = (torch.ones(1),)
STREAM: Any = object()


@dataclass(eq=False)
class FakeGraph:
    outputs: tuple[Tensor, ...]
    uses: object
    replays: int = 0

    def replay(self, _inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.replays += 1
        return self.outputs


@dataclass
class Captures:
    """What stands in for a capture. `error` is raised by it."""

    error: Exception | None = None
    made: list[FakeGraph] = field(default_factory=list[FakeGraph])

    def __call__(self, _call: Callable[..., Any], inputs: tuple[Tensor, ...], uses: object) -> FakeGraph:
        if self.error is not None:
            raise self.error
        self.made.append(FakeGraph((inputs[0] + 100,), uses))
        return self.made[-1]


@dataclass
class Call:
    count: int = 0

    def __call__(self, given: Tensor) -> tuple[Tensor]:
        self.count += 1
        return (given + 1,)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    captures = Captures()
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(Graphs, "_capture", lambda _self, *given: captures(*given))
    return captures


def test_a_call_is_captured_once_it_has_been_made_often_enough(captures: Captures) -> None:
    graphs, call = Graphs(STREAM), Call()
    for _ in range(CALLS_BEFORE_CAPTURE):
        assert graphs.run("a", call, ONE)[0] == 2
    assert captures.made == []
    for replays in (1, 2):
        assert graphs.run("a", call, ONE)[0] == 101
        assert captures.made[0].replays == replays
    assert call.count == CALLS_BEFORE_CAPTURE
    assert len(captures.made) == 1


def test_at_once_nothing_is_answered_by_a_plain_call(captures: Captures) -> None:
    graphs, call = Graphs(STREAM, at_once=True), Call()
    for _ in range(3):
        assert graphs.run("a", call, ONE)[0] == 101
    assert call.count == CALLS_BEFORE_CAPTURE
    assert [graph.replays for graph in captures.made] == [3]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_leaves_no_room_for_its_graph_goes_on_without(captures: Captures, strict: bool, at_once: bool) -> None:
    captures.error = torch.OutOfMemoryError("full")
    graphs, call = Graphs(STREAM, strict=strict, at_once=at_once), Call()
    for _ in range(CALLS_BEFORE_CAPTURE + 3):
        assert graphs.run("a", call, ONE)[0] == 2
    captures.error = None
    assert graphs.run("a", call, ONE)[0] == 2, "it was given up"


def test_what_cannot_be_captured_goes_on_without_and_says_so(captures: Captures) -> None:
    captures.error = RuntimeError("not permitted")
    graphs, call = Graphs(STREAM, at_once=True), Call()
    with pytest.warns(UserWarning, match="without a CUDA graph: not permitted"):
        assert graphs.run("a", call, ONE)[0] == 2
    assert graphs.run("a", call, ONE)[0] == 2


def test_a_strict_capture_raises(captures: Captures) -> None:
    captures.error = RuntimeError("not permitted")
    graphs = Graphs(STREAM, at_once=True, strict=True)
    with pytest.raises(RuntimeError, match="not permitted"):
        graphs.run("a", Call(), ONE)


def test_the_graph_that_was_not_used_for_longest_makes_room(captures: Captures) -> None:
    graphs, call = Graphs(STREAM, at_once=True), Call()
    for key in range(MAX_GRAPHS):
        graphs.run(key, call, ONE)
    graphs.run(0, call, ONE)
    graphs.run("another", call, ONE)
    made = len(captures.made)
    graphs.run(0, call, ONE)
    assert len(captures.made) == made
    graphs.run(1, call, ONE)
    assert len(captures.made) == made + 1


def test_a_graph_keeps_what_its_call_reads_until_it_is_forgotten(captures: Captures) -> None:
    class Factors:
        pass

    graphs, call, factors = Graphs(STREAM, calls_before=0), Call(), Factors()
    kept = weakref.ref(factors)
    graphs.run("a", call, ONE, factors)
    captures.made.clear()
    del factors
    assert kept() is not None
    graphs.forget()
    assert kept() is None


def test_forgotten_graphs_are_captured_anew(captures: Captures) -> None:
    graphs, call = Graphs(STREAM, calls_before=1), Call()
    for _ in range(2):
        graphs.run("a", call, ONE)
    graphs.forget()
    for _ in range(2):
        graphs.run("a", call, ONE)
    assert (call.count, len(captures.made)) == (2, 2)
