"""CUDA graphs of calls that come back: one launch instead of hundreds or thousands, the same kernels, the same bits."""

from __future__ import annotations

import gc
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .lora.layers import AdaptedRows
from .unet_call import UNetCall

# Calls of a kind before it is captured: kernels are chosen and workspaces allocated by then, and a size that is asked
# for once does not pay for a graph. A graph of a 1024-px step holds about a gigabyte, shared between all of them.
CALLS_BEFORE_CAPTURE = 3
# With LoRAs a call that is launched kernel by kernel takes four times as long as its graph (SDXL at 1024 px on an H200:
# 189 ms, 47 ms, and 265 ms to capture it), so the second of its kind is captured.
CALLS_WITH_LORAS_BEFORE_CAPTURE = 1
MAX_GRAPHS = 8
# Kinds of calls that are counted; with LoRAs there may be one for each scale that somebody asks for.
MAX_COUNTED = 1000

Tensors: TypeAlias = tuple[Tensor, ...]

# A capture that breaks stays open for torch's allocator, which goes on asking it: it must not be freed.
_BROKEN: list[torch.cuda.CUDAGraph] = []


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors
    uses: object
    """What must live for as long as the graph, which has nothing but addresses."""

    def replay(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.outputs


class Graphs:
    """Captures calls that are made often. All are made from one thread, and on one stream.

    Kernels keep the priority of `stream`, which they are captured on. A call is captured when it has been made
    `calls_before` times; with `at_once` these times come first, for what gives other bits in a graph. What cannot be
    captured goes on as it is, with a warning; `strict` raises instead. `beside` are graphs of the same stream whose
    memory these ones share: the next call of either may write over the outputs.
    """

    def __init__(
        self,
        stream: torch.cuda.Stream,
        *,
        at_once: bool = False,
        calls_before: int = CALLS_BEFORE_CAPTURE,
        strict: bool = False,
        beside: Graphs | None = None,
    ) -> None:
        self._stream = stream
        self._at_once = at_once
        self._calls_before = calls_before
        self._strict = strict
        self._pool = torch.cuda.graph_pool_handle() if beside is None else beside._pool
        self._calls: Counter[Hashable] = Counter()
        self._graphs: OrderedDict[Hashable, _Captured] = OrderedDict()
        self._given_up: set[Hashable] = set()

    def run(self, key: Hashable, call: Callable[..., Tensors], inputs: Tensors, uses: object = None) -> Tensors:
        """`call` of `inputs`. Calls of the same key differ only in the values of their inputs.

        `uses` is what the call reads beside its inputs and the model: a graph keeps it. The next call of any key may
        write over the outputs.
        """
        captured = self._graphs.get(key) or self._new(key, call, inputs, uses)
        if captured is None:
            return call(*inputs)
        self._graphs.move_to_end(key)
        return captured.replay(inputs)

    def forget(self) -> None:
        """Gives back what the graphs hold; calls are counted anew."""
        self._graphs.clear()
        self._calls.clear()

    def _new(self, key: Hashable, call: Callable[..., Tensors], inputs: Tensors, uses: object) -> _Captured | None:
        """A graph of the call if it is time for one, None if it is not or cannot be made."""
        if key in self._given_up:
            return None
        if len(self._calls) > MAX_COUNTED:
            self._calls.clear()
        self._calls[key] += 1
        if self._at_once:
            for _ in range(self._calls_before):
                call(*inputs)
        elif self._calls[key] <= self._calls_before:
            return None
        try:
            captured = self._capture(call, inputs, uses)
        except torch.OutOfMemoryError:
            self._given_up.add(key)
            torch.cuda.empty_cache()
            return None
        except RuntimeError as error:
            if self._strict:
                raise
            self._given_up.add(key)
            warnings.warn(f"a call goes on without a CUDA graph: {error}", stacklevel=3)
            return None
        self._keep(key, captured)
        return captured

    def _capture(self, call: Callable[..., Tensors], inputs: Tensors, uses: object) -> _Captured:
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # A capture that breaks leaves its stream the current one: the outer manager puts the old one back.
            # thread_local: the preview thread waits for its events meanwhile, which a global capture would forbid.
            with (
                _nothing_collected(),
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                outputs = call(*own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            _BROKEN.append(graph)
            raise
        return _Captured(graph, own, outputs, uses)

    def _keep(self, key: Hashable, captured: _Captured) -> None:
        self._graphs[key] = captured
        if len(self._graphs) > MAX_GRAPHS:
            forgotten, _ = self._graphs.popitem(last=False)
            self._calls[forgotten] = 0


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Garbage stays: an older graph in it would be freed, and CUDA ends a capture in which that happens."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class GraphedCall:
    """A UNetCall that is captured at the shapes it sees often, and for the LoRAs that it sees often."""

    def __init__(self, call: UNetCall, device: torch.device) -> None:
        self._call = call
        # Denoising outranks previews.
        stream = torch.cuda.Stream(device, priority=-1)
        self._graphs = Graphs(stream, strict=True)
        # A LoRA that cannot be captured is no reason to launch everything kernel by kernel.
        self._adapted = Graphs(stream, calls_before=CALLS_WITH_LORAS_BEFORE_CAPTURE, beside=self._graphs)

    def __call__(self, *inputs: Tensor, adapted: Sequence[AdaptedRows] = ()) -> Tensor:
        graphs = self._adapted if adapted else self._graphs
        key = (tuple(tensor.shape for tensor in inputs), tuple(rows.identity for rows in adapted))
        options = {"adapted": adapted} if adapted else {}
        (output,) = graphs.run(key, lambda *given: (self._call(*given, **options),), inputs, adapted)
        # The next step writes over it, and previews may still read what is made from it.
        return output.clone()

    def forget_adapted(self) -> None:
        """Lets go of LoRAs, which their graphs keep in memory."""
        self._adapted.forget()
