"""The LoRAs of a model that has just been loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .file import LoraTarget
from .folder import LoraFolder
from .names import layer_names
from .store import LoraStore

# Of the device's memory for LoRAs that are loaded, but at least what one of average size takes.
MEMORY_SHARE = 0.1
LEAST_BYTES = 512 * 1024**2


def open_loras(
    folder: str | None, unet: Any, encoders: tuple[Any, Any], device: torch.device, memory_bytes: int
) -> LoraStore | None:
    """Nothing is read yet. `memory_bytes` is all that the device has."""
    if folder is None:
        return None
    target = LoraTarget(layer_names(unet, encoders), int(unet.config.cross_attention_dim))
    max_bytes = max(LEAST_BYTES, int(memory_bytes * MEMORY_SHARE))
    return LoraStore(LoraFolder(Path(folder)), target, device, unet.dtype, max_bytes)
