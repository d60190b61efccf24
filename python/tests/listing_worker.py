"""A worker that leaves the names of the modules that it has imported in the file `modules` of its working directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from latentcast_worker.__main__ import main

code = main()
Path("modules").write_text("\n".join(sys.modules), encoding="utf-8")
os._exit(code)
