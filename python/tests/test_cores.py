"""Workers that share a machine keep out of each other's way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from latentcast_worker.cores import share_of


@pytest.mark.parametrize("cores", [[0], [0, 1], [0, 1, 2, 3, 8, 9, 10], list(range(64))])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_disjoint_and_complete_while_there_are_enough_cores(cores: list[int], count: int) -> None:
    shares = [share_of(cores, index, count) for index in range(count)]
    assert all(shares)
    assert {core for share in shares for core in share} == set(cores)
    if count <= len(cores):
        assert sorted(core for share in shares for core in share) == cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_torch_takes_no_more_threads_than_its_share_has_cores() -> None:
    code = (
        "from latentcast_worker.cores import keep_to_share; keep_to_share(0, 10_000); import os, torch;"
        "print(len(os.sched_getaffinity(0)), torch.get_num_threads())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["1", "1"]
