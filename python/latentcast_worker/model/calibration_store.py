"""Calibrations on disk: one small file for each device, torch and model. Losing one costs a measurement, no more."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

from .acceleration import Attention, Speed

Key: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Calibration:
    """`seconds` of a UNet call by the number of samples in it, 1 among them."""

    speed: Speed
    seconds: Mapping[int, float]


class CalibrationStore:
    """Files in `folder`, made when the first is written. Never raises: a calibration is a convenience."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: Key) -> Calibration | None:
        """None for one that was never written, or that cannot be understood."""
        try:
            value = json.loads(self._path(key).read_text(encoding="utf-8"))
            if value["key"] != dict(key):
                return None
            return Calibration(_speed(value["speed"]), _seconds(value["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, key: Key, calibration: Calibration) -> None:
        text = json.dumps(
            {"key": dict(key), "speed": asdict(calibration.speed), "seconds": dict(calibration.seconds)}, indent=2
        )
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            # Whole or not at all, whoever else writes: a rename over the old file.
            handle, name = tempfile.mkstemp(prefix=".calibration-", dir=self._folder)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(name, self._path(key))
            except OSError:
                os.unlink(name)

    def _path(self, key: Key) -> Path:
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest[:16]}.json"


def _speed(value: dict[str, Any]) -> Speed:
    speed = Speed(**value)
    flags = (speed.channels_last, speed.compiled, speed.graphs)
    if any(not isinstance(flag, bool) for flag in flags) or speed.attention not in get_args(Attention):
        raise TypeError("not a speed")
    return speed


def _seconds(value: dict[str, Any]) -> dict[int, float]:
    seconds = {int(count): float(took) for count, took in value.items()}
    if 1 not in seconds or any(count < 1 or not 0 < took < float("inf") for count, took in seconds.items()):
        raise ValueError("not a measurement")
    return seconds
