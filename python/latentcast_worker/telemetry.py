"""Counters that the engine writes and the IO thread reads for `pong`: plain attributes, so that reads never block."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from .protocol import Pong


def _no_device_memory() -> int:
    return 0


@dataclass(slots=True)
class Telemetry:
    iterations: int = 0
    device_memory_bytes: Callable[[], int] = _no_device_memory

    def note_work(self) -> None:
        """A piece of work is finished: what the orchestrator's watchdog looks for. Called on any thread."""
        self.iterations += 1

    def pong(self) -> Pong:
        return Pong(
            iterations=self.iterations, rss_bytes=resident_bytes(), device_memory_bytes=self.device_memory_bytes()
        )


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say (no /proc)."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
