"""Gradients of a batch, part by part, on as many threads as there are cores.

Threads inside one operation wait for the slowest core at every step of the way, which ruins the pace on a machine that
also does other work. Whole parts handed out one by one leave each core busy at the speed it happens to have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor, nn


class GradientPool:
    """Computes mean gradients of parts of a batch; use as a context manager."""

    def __init__(self, model: nn.Module, workers: int) -> None:
        """Take the model whose parameters with ``requires_grad`` get gradients.

        Args:
            workers: parts worked on at a time; each uses one core when there is more than one.
        """
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._workers = workers
        self._threads_before = torch.get_num_threads()
        if workers > 1:
            torch.set_num_threads(1)
        # OpenMP keeps its thread count per thread, hence the initializer.
        self._pool = (
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) if workers > 1 else None
        )

    def __enter__(self) -> GradientPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads_before)

    def run(self, loss_of: Callable[[int], Tensor], shares: Sequence[float]) -> float:
        """Set ``grad`` of every parameter to the weighted sum over the parts.

        Parts are added in order, so the result does not depend on which thread was faster.

        Args:
            loss_of: computes the loss of part ``index``.
            shares: weight of every part; they sum to 1.

        Returns:
            The weighted loss.
        """

        def work(index: int) -> tuple[float, tuple[Tensor | None, ...]]:
            loss = loss_of(index) * shares[index]
            return float(loss.detach()), torch.autograd.grad(loss, self._parameters, allow_unused=True)

        indices = range(len(shares))
        results = self._pool.map(work, indices) if self._pool is not None else map(work, indices)
        total = 0.0
        for parameter in self._parameters:
            parameter.grad = None
        for value, gradients in results:
            total += value
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient.clone()
                else:
                    parameter.grad += gradient
        return total


def part_slices(count: int, size: int) -> list[slice]:
    """Cut ``count`` rows into parts of at most ``size``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
