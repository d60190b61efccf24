"""The real worker around the simulated device. The orchestrator starts it in place of `python -m latentcast_worker`."""

from __future__ import annotations

import os
import sys

from latentcast_worker import policy
from latentcast_worker.command_line import settings_of
from latentcast_worker.model.port import Loaded
from latentcast_worker.shelf import OneModel
from latentcast_worker.worker import run_worker
from stub_model import StubModel


def main() -> int:
    if os.environ.get("LATENTCAST_WORKER_BENCH_POLICY") == "fifo":
        policy.EARLY_STEPS = 0  # Nobody is a newcomer: first come, first served.
    model = StubModel()
    loaded = Loaded(OneModel(model), model.device_memory_bytes, {"stub": "1"})
    return run_worker(settings_of(sys.argv[1:]), lambda _reporter: loaded)


if __name__ == "__main__":
    code = main()
    os._exit(code)
