"""`python -m latentcast_worker`: one worker process for one device, started and watched by the orchestrator."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .command_line import settings_of
from .cores import keep_to_share
from .libraries import import_libraries
from .model.port import Loaded, Reporter
from .protocol import Loading
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
        # They take seconds to import; hello should not wait for them.
        import_libraries()
        from .model.source import load_named_models

        return load_named_models(settings, reporter)

    return run_worker(settings, load_models)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still be inside torch or a download; a normal exit would wait for them or crash under them.
    os._exit(code)
