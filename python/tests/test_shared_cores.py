"""On a CPU whose cores others want too, threads sleep while they wait for one another."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from latentcast_worker.model.shared_cores import SharedCores

CALL_SECONDS = 0.05
QUIET, CONTENDED = 0.1, 0.6


@dataclass
class Machine:
    """Calls take `CALL_SECONDS`, for a share of which threads wait for a core."""

    seconds: float = 0.0
    waited: float = 0.0
    teams: list[FakeTeam] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cores = SharedCores(lambda: self.waited, self.gather, lambda: self.seconds)

    def gather(self) -> FakeTeam:
        self.teams.append(FakeTeam())
        return self.teams[-1]

    def call(self, share: float) -> None:
        self.seconds += CALL_SECONDS
        self.waited += share * CALL_SECONDS

    def run(self, *shares: float) -> bool:
        """True if the threads of a call after these would sleep while they wait for one another."""
        for share in shares:
            self.cores.watch(lambda share=share: self.call(share))
        return any(team.is_there for team in self.teams)


@dataclass
class FakeTeam:
    is_there: bool = True

    def disband(self) -> None:
        self.is_there = False


@pytest.mark.parametrize(
    ("shares", "sleeps"),
    [
        pytest.param([QUIET] * 9, False, id="a quiet machine"),
        pytest.param([CONTENDED], True, id="one contended call"),
        pytest.param([CONTENDED] * 9, True, id="calls that stay contended"),
        pytest.param([CONTENDED, QUIET], True, id="one calm call"),
        pytest.param([CONTENDED, QUIET, CONTENDED, QUIET], True, id="calm calls that do not follow one another"),
        pytest.param([CONTENDED, QUIET, QUIET], False, id="two calm calls in a row"),
        pytest.param([CONTENDED, QUIET, QUIET, CONTENDED], True, id="a neighbour that is back"),
    ],
)
def test_threads_sleep_while_others_want_the_cores(shares: list[float], sleeps: bool) -> None:
    assert Machine().run(*shares) is sleeps


def test_one_team_is_enough() -> None:
    machine = Machine()
    machine.run(*[CONTENDED] * 5)
    assert len(machine.teams) == 1


def test_after_a_pause_nothing_is_known() -> None:
    machine = Machine()
    assert machine.run(CONTENDED)
    machine.seconds += 1.0
    began_asleep: list[bool] = []
    machine.cores.watch(lambda: began_asleep.append(any(team.is_there for team in machine.teams)))
    assert began_asleep == [False]


def test_a_call_that_fails_changes_nothing() -> None:
    machine = Machine()
    machine.run(CONTENDED)

    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        machine.cores.watch(fail)
    assert machine.run()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_an_idle_team_adds_threads_and_keeps_the_bits() -> None:
    code = """
import os, time, torch
from latentcast_worker.model.shared_cores import IdleTeam, watch_cores
def until(holds):
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)
count = lambda: len(os.listdir("/proc/self/task"))
torch.manual_seed(0)
conv, image = torch.nn.Conv2d(64, 64, 3), torch.randn(2, 64, 32, 32)
alone, before = conv(image), count()
team = IdleTeam()
# Python's own, and those of the team but for the first.
until(lambda: count() >= before + 2)
assert torch.equal(conv(image), alone)
team.disband()
until(lambda: count() <= before)
assert torch.equal(conv(image), alone)
assert watch_cores(torch.device("cpu")) is not None
torch.set_num_threads(1)
assert watch_cores(torch.device("cpu")) is None
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"OMP_NUM_THREADS": "2"}, timeout=120)
