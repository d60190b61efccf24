"""What a worker's command line says. Importing it loads nothing that a worker works with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from .fields import FieldError, Fields
from .settings import WorkerSettings, read_worker_settings


def settings_of(arguments: Sequence[str]) -> WorkerSettings:
    """The settings on a worker's command line. Ends the process with a text on stderr if they cannot be used."""
    description = "One worker process for one device, started and watched by the orchestrator."
    parser = argparse.ArgumentParser(prog="latentcast_worker", description=description, allow_abbrev=False)
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
