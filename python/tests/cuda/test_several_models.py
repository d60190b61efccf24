"""Several models of one device that take turns."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latentcast_worker.model.port import ModelShelf
from latentcast_worker.model.source import load_named_models
from latentcast_worker.protocol import Generate, Result

from ..fakes import EngineRun
from ..loading import SILENT, worker_settings
from .support import DEMO, DEVICE, IS_CUDA, an_image, needs_device

pytestmark = needs_device


def drawn(shelf: ModelShelf[Any], *requests: Generate) -> dict[str, bytes]:
    run = EngineRun(shelf)
    run.run(*requests, endings=len(requests))
    return {
        report.job_id: bytes(payload[0])
        for report, payload in zip(run.reports, run.payloads, strict=True)
        if isinstance(report, Result)
    }


def of(model: str, job_id: str) -> Generate:
    request = an_image(job_id, seed=ord(job_id))
    return replace(request, params=replace(request.params, model=model))


def test_models_of_one_device_take_turns_and_keep_their_bits(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("first", "second"):
        shutil.copytree(DEMO, folder / name)
    settings = worker_settings(folder, tmp_path / "cache", device=DEVICE, max_batch=1)
    shelf = load_named_models(settings, SILENT).shelf
    assert shelf.report is not None
    names = {"a": "first", "b": "second", "c": "first", "d": "second"}
    alone = {job_id: drawn(shelf, of(name, job_id))[job_id] for job_id, name in names.items()}
    # Often enough for the graphs of both to be captured, and in the steps of each other.
    for _ in range(2):
        assert drawn(shelf, *(of(name, job_id) for job_id, name in names.items())) == alone
    before = torch.cuda.memory_allocated()
    assert shelf.drop_all_but(["second"])
    if IS_CUDA:
        assert torch.cuda.memory_allocated() < before
    assert drawn(shelf, of("first", "a"))["a"] == alone["a"]
