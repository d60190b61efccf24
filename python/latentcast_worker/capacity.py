"""How much a worker holds at once."""

from __future__ import annotations

from collections.abc import Sequence

from .model.port import Capabilities
from .protocol import GenerationParams


def room_problem(held: Sequence[GenerationParams], limits: Capabilities) -> str | None:
    """Why the last of these jobs cannot be held with the others; None where it can."""
    if len(held) > limits.max_jobs:
        return f"the worker holds {len(held) - 1} jobs already"
    if sum(params.width * params.height * params.num_images for params in held) > limits.max_pixels:
        return "the images that the worker holds leave no room for this one"
    return None
