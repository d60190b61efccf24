"""`python -m latentcast_worker`: one worker process for one device, started and watched by the orchestrator."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cores import keep_to_share
from .fields import FieldError, Fields
from .model.port import Loaded, Reporter
from .protocol import Loading
from .settings import WorkerSettings, read_worker_settings
from .worker import run_worker


def main() -> int:
    settings = settings_of(sys.argv[1:])
    if settings.cpu_share is not None:
        keep_to_share(settings.cpu_share.index, settings.cpu_share.count)

    def load_models(reporter: Reporter) -> Loaded:
        reporter.loading(Loading(stage="import"))
        # Read while they are imported: neither their advice nor their progress bars belong into a server's log.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        # Torch settles on a folder for compiled kernels while it is imported, by default one that a reboot empties.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(settings.cache_dir) / "compiled"))
        # Torch takes seconds to import; hello should not wait for it.
        from .model.source import load_named_models

        return load_named_models(settings, reporter)

    return run_worker(settings, load_models)


def settings_of(arguments: Sequence[str]) -> WorkerSettings:
    """The settings on a worker's command line. Ends the process with a text on stderr if they cannot be used."""
    parser = argparse.ArgumentParser(prog="latentcast_worker", description=__doc__, allow_abbrev=False)
    parser.add_argument("--settings", required=True, type=_worker_settings, help="JSON; see settings.py")
    return parser.parse_args(arguments).settings


def _worker_settings(text: str) -> WorkerSettings:
    try:
        settings = read_worker_settings(Fields(json.loads(text), "settings"))
    except (FieldError, json.JSONDecodeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    share = settings.cpu_share
    if share is not None and share.index >= share.count:
        raise argparse.ArgumentTypeError(f"settings.cpu_share: there is no part {share.index} of {share.count}")
    return settings


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still be inside torch or a download; a normal exit would wait for them or crash under them.
    os._exit(code)
