"""The training loop that the autoencoders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from .checkpoint import Machine, learning_rate, load_checkpoint, save_checkpoint
from .parallel import GradientPool
from .progress import Progress

_SAVE_EVERY: Final = 100


def optimise(
    label: str,
    model: nn.Module,
    part_losses_at: Callable[[int], list[Callable[[], Tensor]]],
    path: Path,
    steps: int,
    peak: float,
    machine: Machine,
    until: int | None,
) -> bool:
    """Run AdamW from the checkpoint at ``path``, if any.

    Args:
        part_losses_at: for a step, one function for each equally large part of the batch that computes its loss.
        until: stop early after this step.

    Returns:
        Whether all steps are done.
    """
    model.to(machine.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    first = 0
    if (state := load_checkpoint(path)) is not None:
        first = int(state["step"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    last = steps if until is None else min(until, steps)
    progress, average = Progress(label, steps, first), 0.0
    with GradientPool(model, machine.workers) as pool:
        for step in range(first, last):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak, warmup=100)
            parts = part_losses_at(step)
            value = pool.run(lambda index, parts=parts: parts[index](), [1.0 / len(parts)] * len(parts))
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average = value if step == first else 0.95 * average + 0.05 * value
            progress.show(step + 1, f"loss {average:.4f}")
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == last:
                state = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save_checkpoint(path, state)
    return last == steps
