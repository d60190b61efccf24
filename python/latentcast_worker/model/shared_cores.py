"""How the threads of the CPU wait for one another while other programs want the cores.

A UNet call on the CPU is hundreds of parallel regions. At the end of each, GNU's OpenMP lets a thread look
GOMP_SPINCOUNT times whether the others are done before it sleeps. On a quiet machine that is the fastest way. Beside a
program that keeps a core busy, the thread that looks holds the core which the thread it waits for needs.

libgomp looks only 100 times while it has more threads than there are cores (its manual says so under GOMP_SPINCOUNT).
So while cores are contended, a second team of threads is kept that does nothing. The team that computes stays as it is,
and with it every bit of the result: another number of threads would change the rounding.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

import torch

# For each thread, so that torch surely computes in parallel: it gives a thread 32768 numbers at least.
_NUMBERS_PER_THREAD = 1 << 16

# How long all threads together wait for a core, as a share of the call. Beside one busy program it is 0.48 to 0.84 on
# two cores, in either way of waiting; on a quiet machine 0.01 to 0.03.
_CONTENDED_SHARE = 0.4

# Calls in a row below that share before threads look for long again. A call that looks in vain takes twice as long.
_CALM_CALLS = 2

# After so many seconds without a call nothing is known about now, and threads look for long.
_PAUSE_SECONDS = 0.2


_TASKS = "/proc/self/task"


class Team(Protocol):
    def disband(self) -> None: ...


class IdleTeam:
    """OpenMP threads that do nothing, as many as torch computes with, until `disband`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        threading.Thread(target=self._keep, name="idle-team", daemon=True).start()

    def disband(self) -> None:
        self._over.set()

    def _keep(self) -> None:
        # A team belongs to the thread that first computed in parallel, and ends with it.
        torch.zeros(torch.get_num_threads() * _NUMBERS_PER_THREAD).add_(1)
        self._over.wait()


class SharedCores:
    """Watches calls; after one whose threads had to wait for cores, threads wait for one another asleep.

    `waited` gives the seconds that all threads together were ready to run and had no core; `clock` gives seconds.
    """

    def __init__(
        self,
        waited: Callable[[], float],
        gather: Callable[[], Team] = IdleTeam,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waited = waited
        self._gather = gather
        self._clock = clock
        self._team: Team | None = None
        self._calm_calls = 0
        self._ended = clock()

    def watch(self, call: Callable[[], None]) -> None:
        if self._clock() - self._ended > _PAUSE_SECONDS:
            self._disband()
        waited, began = self._waited(), self._clock()
        call()
        self._ended = self._clock()
        self._judge(self._waited() - waited > _CONTENDED_SHARE * (self._ended - began))

    def close(self) -> None:
        self._disband()

    def _judge(self, is_contended: bool) -> None:
        if is_contended:
            self._calm_calls = 0
            self._team = self._team or self._gather()
        else:
            self._calm_calls += 1
            if self._calm_calls == _CALM_CALLS:
                self._disband()

    def _disband(self) -> None:
        if self._team is not None:
            self._team.disband()
            self._team = None


def watch_cores(device: torch.device) -> SharedCores | None:
    """None where no threads wait for one another, and where the system does not say how long they wait for a core."""
    if device.type != "cpu" or torch.get_num_threads() == 1 or _waited_seconds() is None:
        return None
    return SharedCores(lambda: _waited_seconds() or 0.0)


def _waited_seconds() -> float | None:
    """How long the threads of this process that live now have waited for a core; None where nothing says so."""
    seconds = [waited for task in _tasks() if (waited := _task_waited(task)) is not None]
    return sum(seconds) if seconds else None


def _tasks() -> list[str]:
    try:
        return os.listdir(_TASKS)
    except FileNotFoundError:
        return []


def _task_waited(task: str) -> float | None:
    try:
        with open(f"{_TASKS}/{task}/schedstat", "rb", buffering=0) as schedstat:
            return int(schedstat.read().split()[1]) / 1e9
    except OSError:  # The thread has ended meanwhile, or the kernel keeps no such figures.
        return None
