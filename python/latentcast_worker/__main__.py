"""`python -m latentcast_worker`: one worker process for one device, started and watched by the orchestrator."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from .cores import keep_to_share
from .model.port import LoadedModel, Reporter
from .model.shortcuts import SHORTCUTS, ShortcutName, Shortcuts
from .protocol import Loading
from .worker import WorkerOptions, run_worker


def main() -> int:
    arguments = _parse_arguments()
    if arguments.cpu_share is not None:
        keep_to_share(*arguments.cpu_share)

    def load_model(reporter: Reporter) -> LoadedModel:
        reporter.loading(Loading(stage="import"))
        # Read while they are imported: neither their advice nor their progress bars belong into a server's log.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        # Torch settles on a folder for compiled kernels while it is imported, by default one that a reboot empties.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(arguments.cache_dir / "compiled"))
        # Torch takes seconds to import; hello should not wait for it.
        from .model.source import load_named_model

        return load_named_model(
            arguments.model,
            arguments.tiny_vae,
            arguments.device,
            arguments.cache_dir,
            arguments.max_batch,
            arguments.shortcuts,
            reporter,
        )

    return run_worker(WorkerOptions(arguments.endpoint, arguments.identity), load_model)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="latentcast_worker", description=__doc__, allow_abbrev=False)
    parser.add_argument("--endpoint", required=True, help="ZeroMQ address that the orchestrator listens on")
    parser.add_argument("--identity", required=True, type=_identity, help="w<slot>.<epoch>")
    parser.add_argument(
        "--model", required=True, help="hub id, diffusers folder, `demo`, or `noise` for random weights"
    )
    parser.add_argument("--tiny-vae", required=True, help="hub id or folder of the preview decoder")
    parser.add_argument("--device", required=True, help="cpu or cuda:<index>")
    parser.add_argument(
        "--cpu-share", default=None, type=_cpu_share, help="INDEX/COUNT: which of COUNT shares of the cores to use"
    )
    parser.add_argument("--cache-dir", required=True, type=Path, help="where made models are kept")
    parser.add_argument(
        "--max-batch",
        default=None,
        type=_max_batch,
        help="most pictures per UNet call: auto (measured), or a number; 1 is exact",
    )
    parser.add_argument(
        "--shortcuts",
        default=frozenset[ShortcutName](),
        type=_shortcuts,
        help=f"comma-separated, each changes the pictures: {', '.join(SHORTCUTS)}",
    )
    return parser.parse_args()


def _identity(text: str) -> str:
    if not re.fullmatch(r"w\d+\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not w<slot>.<epoch>")
    return text


def _cpu_share(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not index.isdigit() or not count.isdigit() or int(index) >= int(count):
        raise argparse.ArgumentTypeError(f"{text!r} is not INDEX/COUNT")
    return int(index), int(count)


def _max_batch(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number from 1")
    return int(text)


def _shortcuts(text: str) -> Shortcuts:
    names = frozenset(text.split(",")) if text else frozenset[str]()
    known = frozenset(SHORTCUTS) & names
    if known != names:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(names - known))} is none of {', '.join(SHORTCUTS)}")
    return known


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still be inside torch or a download; a normal exit would wait for them or crash under them.
    os._exit(code)
