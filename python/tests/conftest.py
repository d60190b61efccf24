"""Fixtures that load the tiny model once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from hypothesis import settings

from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.tiny_sdxl.folder import ensure_tiny_sdxl

from .loading import load_model
from .tiny_checkpoint import TinyCheckpoint, make_tiny_checkpoint

# One thread: on a shared machine two threads of so small a model mostly wait for each other.
torch.set_num_threads(1)

# A loaded machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_tiny_sdxl(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyCheckpoint:
    """A tiny model that can be a single file."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "folder", tiny_folder)


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SdxlModel:
    """The tiny model in exact mode on the CPU."""
    return load_model(tiny_folder, tmp_path_factory.mktemp("cache"), name="noise")


@pytest.fixture(scope="session")
def pipeline(tiny_folder: Path) -> Any:
    """diffusers' own pipeline of the tiny model; `own_scheduler` stays what the model came with."""
    pipe: Any = StableDiffusionXLPipeline.from_pretrained(tiny_folder, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.own_scheduler = pipe.scheduler
    return pipe
