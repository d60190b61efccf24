"""What a worker imports at its start, and how: all of it is time in which nobody gets an image."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from latentcast_worker.libraries import cheap_imports
from latentcast_worker.protocol import Shutdown

from .worker_process import PYTHON_ROOT, WorkerProcess

# Each is installed where the tests run, and takes part of a second or more.
NOT_FOR_THE_DEMO_MODEL = (
    "compel",
    "diffusers.pipelines",
    "latentcast_worker.tiny_sdxl.build",
    "pytest",
    "torch._inductor.compile_fx",
    "transformers.trainer",
)

NOT_BEFORE_HELLO = ("torch", "diffusers", "transformers", "huggingface_hub")


def test_a_worker_of_the_demo_model_imports_neither_pipelines_nor_compilers(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "tests.listing_worker", models=("demo",)) as worker:
        worker.until("ready")
        worker.send(Shutdown())
        assert worker.exit_code() == 0
    imported = (tmp_path / "modules").read_text(encoding="utf-8").splitlines()
    assert "diffusers.models.unets.unet_2d_condition" in imported
    assert [name for name in NOT_FOR_THE_DEMO_MODEL if name in imported] == []


def test_a_worker_says_hello_before_it_imports_libraries() -> None:
    code = "import latentcast_worker.__main__, sys; print(*sys.modules, sep='\\n')"
    imported = subprocess.run([sys.executable, "-c", code], cwd=PYTHON_ROOT, capture_output=True, text=True, check=True)
    assert "latentcast_worker.worker" in imported.stdout.split()
    assert [name for name in NOT_BEFORE_HELLO if name in imported.stdout.split()] == []


def test_collections_leave_out_what_was_imported() -> None:
    before = gc.get_freeze_count()
    with cheap_imports():
        assert not gc.isenabled()
        kept = [[]]
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
        assert all(seen is not kept for seen in gc.get_objects())
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("keeps", [False, True])
def test_libraries_are_compiled_once_whatever_the_process_keeps_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    (tmp_path / "a_library.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", not keeps)
    try:
        with cheap_imports():
            __import__("a_library")
    finally:
        gc.unfreeze()
        sys.modules.pop("a_library", None)
    assert [path.suffix for path in (tmp_path / "__pycache__").iterdir()] == [".pyc"]
    assert sys.dont_write_bytecode is not keeps
