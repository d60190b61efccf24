"""Which processor cores a worker computes on when several share a machine."""

from __future__ import annotations

import os
from collections.abc import Sequence


def share_of(cores: Sequence[int], index: int, count: int) -> list[int]:
    """The part of `cores` for worker `index` of `count`: neighbours, and at least one core even if that is shared."""
    own = cores[index * len(cores) // count : (index + 1) * len(cores) // count]
    return list(own) or [cores[index % len(cores)]]


def keep_to_share(index: int, count: int) -> None:
    """Confines this process to its share of the cores it may use. Before torch is imported, which counts them then.

    Does nothing where the system cannot confine processes (macOS, Windows).
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share_of(sorted(os.sched_getaffinity(0)), index, count))
