"""Where the tiny model is kept, without the libraries that make it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"


def ensure_tiny_sdxl(cache_dir: Path) -> Path:
    """The model's folder under `cache_dir`, made if it is not there yet. Safe against interruption and rivals."""
    folder = cache_dir / f"tiny-sdxl-{_fingerprint()}"
    if folder.is_dir():
        return folder
    from .build import build_tiny_sdxl

    cache_dir.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".tiny-sdxl-", dir=cache_dir))
    try:
        build_tiny_sdxl(made, CONFIGS)
        made.chmod(0o755)
        # A rename is all or nothing. It fails when another process was faster, whose model is the same.
        with contextlib.suppress(OSError):
            os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not folder.is_dir():
        raise OSError(f"{folder} could not be made")
    return folder


def _fingerprint() -> str:
    digest = hashlib.sha256((HERE / "build.py").read_bytes())
    for config in sorted(CONFIGS.glob("*.json")):
        digest.update(config.read_bytes())
    return digest.hexdigest()[:12]
