"""Out-of-memory errors of every device under one name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .port import DeviceOutOfMemoryError


@contextmanager
def memory_guard() -> Iterator[None]:
    """Turns torch's out-of-memory errors into DeviceOutOfMemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemoryError("the device ran out of memory") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # The CPU allocator has no error class of its own.
            raise
        raise DeviceOutOfMemoryError("the machine ran out of memory") from error
