"""Out-of-memory errors of every device under one name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .port import DeviceOutOfMemoryError

# The CPU allocator, cuBLAS and cuDNN have no error class of their own.
_SIGNS = ("can't allocate memory", "ALLOC_FAILED")


@contextmanager
def memory_guard() -> Iterator[None]:
    """Turns torch's out-of-memory errors into DeviceOutOfMemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemoryError("the device ran out of memory") from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        raise DeviceOutOfMemoryError("the device ran out of memory") from error
