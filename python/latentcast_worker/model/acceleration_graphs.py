"""CUDA graphs of the UNet call: one launch instead of some two thousand, the same kernels and so the same bits."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .unet_call import UNetCall

# Calls of a shape before it is captured: kernels are chosen and workspaces allocated by then, and a size that is asked
# for once does not pay for a graph. A graph of a 1024-px call holds about a gigabyte, shared between all of them.
CALLS_BEFORE_CAPTURE = 3
MAX_GRAPHS = 8

_Key: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        # The next replay writes over it, and previews may still read what is made from it.
        return self.output.clone()


class GraphedCall:
    """A UNetCall that captures the shapes it sees often. All calls are made on one stream, from one thread."""

    def __init__(self, call: UNetCall, device: torch.device) -> None:
        self._call = call
        self._calls: Counter[_Key] = Counter()
        self._graphs: OrderedDict[_Key, _Captured] = OrderedDict()
        self._too_large: set[_Key] = set()
        self._pool = torch.cuda.graph_pool_handle()
        # Kernels keep the priority of the stream they were captured on: denoising outranks previews.
        self._stream = torch.cuda.Stream(device, priority=-1)

    def __call__(self, *inputs: Tensor) -> Tensor:
        latents, _, tokens = inputs[:3]
        key = (*latents.shape, tokens.shape[1])
        captured = self._graphs.get(key)
        if captured is None:
            self._calls[key] += 1
            if self._calls[key] <= CALLS_BEFORE_CAPTURE or key in self._too_large:
                return self._call(*inputs)
            try:
                captured = self._capture(inputs)
            except torch.OutOfMemoryError:
                self._too_large.add(key)
                torch.cuda.empty_cache()
                return self._call(*inputs)
            self._keep(key, captured)
        self._graphs.move_to_end(key)
        return captured.replay(inputs)

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Captured:
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        # thread_local: the preview thread waits for its events meanwhile, which a global capture would forbid.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            output = self._call(*own)
        return _Captured(graph, own, output)

    def _keep(self, key: _Key, captured: _Captured) -> None:
        self._graphs[key] = captured
        if len(self._graphs) > MAX_GRAPHS:
            forgotten, _ = self._graphs.popitem(last=False)
            self._calls[forgotten] = 0
