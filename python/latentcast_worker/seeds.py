"""Which seed makes which image of a request."""

from __future__ import annotations

from .protocol import MAX_SEED


def image_seed(seed: int, index: int) -> int:
    """The seed that makes image `index` of a request with `seed` again as a request of its own."""
    return (seed + index) % (MAX_SEED + 1)
