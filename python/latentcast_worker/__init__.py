"""The Latentcast worker: one process per device that loads SDXL, runs the step engine and speaks ZeroMQ."""

import json
from pathlib import Path

# package.json is the one place that names the release.
__version__: str = json.loads((Path(__file__).resolve().parents[2] / "package.json").read_text("utf-8"))["version"]
