"""CUDA graphs of calls that come back: one launch instead of hundreds or thousands, the same kernels, the same bits."""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .unet_call import UNetCall

# Calls of a kind before it is captured: kernels are chosen and workspaces allocated by then, and a size that is asked
# for once does not pay for a graph. A graph of a 1024-px step holds about a gigabyte, shared between all of them.
CALLS_BEFORE_CAPTURE = 3
MAX_GRAPHS = 8

Tensors: TypeAlias = tuple[Tensor, ...]

# A capture that breaks stays open for torch's allocator, which goes on asking it: it must not be freed.
_BROKEN: list[torch.cuda.CUDAGraph] = []


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors

    def replay(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.outputs


class Graphs:
    """Captures calls that are made often. All are made from one thread, and on one stream.

    Kernels keep the priority of `stream`, which they are captured on. `at_once` captures at the first call, for what
    gives other bits in a graph. What cannot be captured goes on as it is, with a warning; `strict` raises instead.
    """

    def __init__(self, stream: torch.cuda.Stream, *, at_once: bool = False, strict: bool = False) -> None:
        self._stream = stream
        self._at_once = at_once
        self._strict = strict
        self._pool = torch.cuda.graph_pool_handle()
        self._calls: Counter[Hashable] = Counter()
        self._graphs: OrderedDict[Hashable, _Captured] = OrderedDict()
        self._given_up: set[Hashable] = set()

    def run(self, key: Hashable, call: Callable[..., Tensors], inputs: Tensors) -> Tensors:
        """`call` of `inputs`. Calls of the same key differ only in the values of their inputs.

        The next call of any key may write over the outputs.
        """
        captured = self._graphs.get(key) or self._new(key, call, inputs)
        if captured is None:
            return call(*inputs)
        self._graphs.move_to_end(key)
        return captured.replay(inputs)

    def _new(self, key: Hashable, call: Callable[..., Tensors], inputs: Tensors) -> _Captured | None:
        """A graph of the call if it is time for one, None if it is not or cannot be made."""
        if key in self._given_up:
            return None
        self._calls[key] += 1
        if self._at_once:
            for _ in range(CALLS_BEFORE_CAPTURE):
                call(*inputs)
        elif self._calls[key] <= CALLS_BEFORE_CAPTURE:
            return None
        try:
            captured = self._capture(call, inputs)
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

    def _capture(self, call: Callable[..., Tensors], inputs: Tensors) -> _Captured:
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            # A capture that breaks leaves its stream the current one: the outer manager puts the old one back.
            # thread_local: the preview thread waits for its events meanwhile, which a global capture would forbid.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                outputs = call(*own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            _BROKEN.append(graph)
            raise
        return _Captured(graph, own, outputs)

    def _keep(self, key: Hashable, captured: _Captured) -> None:
        self._graphs[key] = captured
        if len(self._graphs) > MAX_GRAPHS:
            forgotten, _ = self._graphs.popitem(last=False)
            self._calls[forgotten] = 0


class GraphedCall:
    """A UNetCall that is captured at the shapes it sees often."""

    def __init__(self, call: UNetCall, device: torch.device) -> None:
        self._call = call
        # Denoising outranks previews.
        self._graphs = Graphs(torch.cuda.Stream(device, priority=-1), strict=True)

    def __call__(self, *inputs: Tensor) -> Tensor:
        key = tuple(tensor.shape for tensor in inputs)
        (output,) = self._graphs.run(key, lambda *given: (self._call(*given),), inputs)
        # The next step writes over it, and previews may still read what is made from it.
        return output.clone()
