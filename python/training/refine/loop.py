"""The loop that trains each part: until a step or for a time, resumable, with an average of the weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ..checkpoint import Machine, load_checkpoint, save_checkpoint
from ..diffusion import update_average
from ..progress import Progress
from .gradients import LossOf, gradients_of
from .plan import Pace

_SAVE_EVERY_S: Final = 60.0
_READ_EVERY: Final = 10
"""Steps between two looks at the loss. A look waits for the GPU, and keeps the clock from running ahead of it."""

_DECAY_FROM: Final = 0.8
_LEAST_RATE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Limit:
    """When a run ends: after a number of steps or seconds, whichever is first; ``until`` stops it early, for tests."""

    steps: int
    seconds: float | None = None
    until: int | None = None

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1."""
        by_time = 0.0 if self.seconds is None else seconds / max(self.seconds, 1e-3)
        return min(1.0, max(step / self.steps, by_time))


def rate_at(step: int, share: float, pace: Pace) -> float:
    """The learning rate: a warm-up, then constant, and down to almost nothing in the last fifth of the run."""
    left = min(1.0, (1.0 - share) / (1.0 - _DECAY_FROM))
    return pace.learning_rate * min(1.0, (step + 1) / pace.warmup) * (_LEAST_RATE + (1.0 - _LEAST_RATE) * left)


def train_part(
    label: str,
    model: nn.Module,
    loss_of: LossOf,
    inputs_at: Callable[[int], tuple[Tensor, ...]],
    pace: Pace,
    limit: Limit,
    path: Path,
    machine: Machine,
    look: Callable[[int, float, nn.Module], None] = lambda _step, _share, _average: None,
) -> nn.Module:
    """Run AdamW from the checkpoint at ``path``, if any.

    Args:
        model: on the machine's device; its parameters with ``requires_grad`` learn.
        inputs_at: what ``loss_of`` gets in a step.
        look: called with the number of steps, the share of the run that is over and the averaged model, before the
            first step of a new run and after every step.

    Returns:
        The averaged model, on the device.
    """
    average = copy.deepcopy(model).requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=pace.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    first = 0
    if (state := load_checkpoint(path)) is not None:
        first = int(state["step"])
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    else:
        look(0, 0.0, average)
    last = limit.steps if limit.until is None else min(limit.until, limit.steps)
    started_s = saved_s = time.monotonic()
    progress = Progress(label, limit.steps if limit.seconds is None else None, first)
    shown, share = 0.0, 0.0
    with gradients_of(loss_of, model, machine) as gradients:
        for step in range(first, last):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, share, pace)
            loss = gradients(*inputs_at(step))
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            update_average(average, model, min(pace.ema, (step + 1) / (step + 10)))
            if step % _READ_EVERY == 0:
                shown = float(loss) if step == first else 0.9 * shown + 0.1 * float(loss)
                progress.show(step + 1, f"loss {shown:.4f}, {100 * share:.0f} % over,")
            now_s = time.monotonic()
            share = limit.share(step + 1, now_s - started_s)
            is_last = step + 1 == last or share >= 1.0
            if now_s - saved_s > _SAVE_EVERY_S or is_last:
                saved_s = now_s
                save_checkpoint(
                    path,
                    {
                        "step": step + 1,
                        "model": model.state_dict(),
                        "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(),
                    },
                )
            look(step + 1, share, average)
            if is_last:
                break
    return average
