"""Gradients of a loss: part by part on the cores of a CPU, as one recorded graph on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from ..checkpoint import Machine
from ..parallel import GradientPool, part_slices

LossOf = Callable[..., Tensor]
"""The mean loss over the rows of some tensors, all of which have as many rows."""

Gradients = Callable[..., Tensor]
"""Sets ``grad`` of the parameters for such tensors and returns the loss, one number on the machine's device."""

_WARM_UPS: Final = 3


@contextmanager
def gradients_of(loss_of: LossOf, model: nn.Module, machine: Machine) -> Iterator[Gradients]:
    """What computes the gradients of the model's parameters that have ``requires_grad``."""
    if machine.device.type == "cuda":
        yield _Recorder(loss_of, model)
        return
    with GradientPool(model, machine.workers) as pool:

        def by_parts(*inputs: Tensor) -> Tensor:
            count = len(inputs[0])
            parts = part_slices(count, -(-count // machine.workers))
            shares = [len(inputs[0][rows]) / count for rows in parts]
            return torch.tensor(pool.run(lambda index: loss_of(*(values[parts[index]] for values in inputs)), shares))

        yield by_parts


@dataclass(frozen=True, slots=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    loss: Tensor
    gradients: list[Tensor | None]


class _Recorder:
    """Records the forward and backward pass for each shape of the inputs, and launches it as one CUDA graph.

    The networks are so small that a GPU would wait for the launches of some 4,000 kernels one by one. Where a recording
    fails, the passes run without.
    """

    def __init__(self, loss_of: LossOf, model: nn.Module) -> None:
        self._loss_of = loss_of
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._may_record = True

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(values.shape for values in inputs)
        if self._may_record and shapes not in self._recordings:
            try:
                self._recordings[shapes] = self._record(inputs)
            except RuntimeError as error:
                print(f"not recorded as a CUDA graph: {error}", flush=True)
                self._may_record = False
                torch.cuda.synchronize()
        recording = self._recordings.get(shapes)
        if recording is None:
            loss, gradients = self._run(inputs)
        else:
            for mine, values in zip(recording.inputs, inputs, strict=True):
                mine.copy_(values)
            recording.graph.replay()
            loss, gradients = recording.loss, recording.gradients
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recording:
        mine = [values.clone() for values in inputs]
        # Libraries set themselves up in the first passes, which a graph cannot hold; on a stream of its own, as the
        # PyTorch manual has it (https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture).
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._run(mine)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            loss, gradients = self._run(mine)
        return _Recording(graph, mine, loss, gradients)

    def _run(self, inputs: tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        loss = self._loss_of(*inputs)
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        # Laid out in memory as the parameters are: a fused optimizer asks for that.
        pairs = zip(self._parameters, found, strict=True)
        laid_out = [
            None if gradient is None else torch.empty_like(parameter).copy_(gradient) for parameter, gradient in pairs
        ]
        return loss.detach(), laid_out
