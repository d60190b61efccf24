"""`python -m latentcast_worker.tiny_sdxl DIR` makes the model in DIR, or finds it there, and prints its folder."""

from __future__ import annotations

import sys
from pathlib import Path

from .folder import ensure_tiny_sdxl

if len(sys.argv) != 2:
    sys.exit("usage: python -m latentcast_worker.tiny_sdxl DIR")
print(ensure_tiny_sdxl(Path(sys.argv[1])))
