"""Checkpoints that survive a kill at any moment, and the machine a stage runs on."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Machine:
    """The device a stage computes on, whether it computes in bfloat16, and how many parts of a batch at a time."""

    device: torch.device
    is_bfloat16: bool
    workers: int = 1

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for forward passes; does nothing where bfloat16 is off."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_bfloat16, cache_enabled=False)


def pick_machine(device: str = "auto", precision: str = "auto") -> Machine:
    """Choose the device ("auto" prefers CUDA) and the precision ("auto" takes bfloat16 where hardware has it)."""
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if precision == "auto":
        if chosen.type == "cuda":
            is_bfloat16 = torch.cuda.is_bf16_supported()
        else:
            is_bfloat16 = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    else:
        is_bfloat16 = precision == "bfloat16"
    return Machine(chosen, is_bfloat16, 1 if chosen.type == "cuda" else os.cpu_count() or 1)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU; None when there is none yet."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def step_rng(seed: int, stage: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Random numbers of one training step.

    They depend on the step alone, so a resumed run continues exactly as the uninterrupted one would have.
    """
    numbers = np.random.default_rng((seed, stage, step))
    return numbers, torch.Generator().manual_seed(int(numbers.integers(2**63)))


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0))))
