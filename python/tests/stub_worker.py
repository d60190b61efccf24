"""A worker process around a model without torch: `-m tests.stub_worker --settings JSON LOADER STEP_SECONDS`."""

from __future__ import annotations

import os
import sys
import threading
import time

from latentcast_worker.command_line import settings_of
from latentcast_worker.model.port import Loaded, LoadError, Reporter
from latentcast_worker.protocol import Loading
from latentcast_worker.shelf import OneModel
from latentcast_worker.worker import run_worker

from .fakes import FakeModel


def main(flag: str, settings: str, loader: str, step_seconds: str) -> int:
    def load(reporter: Reporter) -> Loaded:
        reporter.loading(Loading(stage="import"))
        match loader:
            case "missing":
                raise LoadError("model_not_found", "no model at nowhere")
            case "crash":
                raise ZeroDivisionError("in the loader")
            case "endless":
                threading.Event().wait()
            case _:
                pass
        # The step sleeps outside the interpreter lock, like a call that waits for a device.
        model = FakeModel(before_step=lambda _samples: time.sleep(float(step_seconds)))
        return Loaded(OneModel(model), model.device_memory_bytes, {"stub": "1"})

    return run_worker(settings_of([flag, settings]), load)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    os._exit(code)
