"""The real worker around the simulated device. The orchestrator starts it in place of `python -m latentcast_worker`."""

from __future__ import annotations

import argparse
import os

from latentcast_worker import policy
from latentcast_worker.model.port import LoadedModel
from latentcast_worker.worker import WorkerOptions, run_worker
from stub_model import StubModel


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--identity", required=True)
    options, _ = parser.parse_known_args()
    if os.environ.get("LATENTCAST_WORKER_BENCH_POLICY") == "fifo":
        policy.EARLY_STEPS = 0  # Nobody is a newcomer: first come, first served.
    return run_worker(
        WorkerOptions(options.endpoint, options.identity), lambda _reporter: LoadedModel(StubModel(), {"stub": "1"})
    )


if __name__ == "__main__":
    code = main()
    os._exit(code)
