"""Several real models in one worker: how they are found, described before they are loaded, and drawn with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentcast_worker.model.devices import open_device
from latentcast_worker.model.host_memory import available_bytes
from latentcast_worker.model.load import ModelSource, candidate, load_on
from latentcast_worker.model.port import Loaded, LoadError
from latentcast_worker.model.residency import bytes_of
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.source import find_sources, load_named_models
from latentcast_worker.protocol import Models, Result

from .fakes import EngineRun
from .loading import SILENT, reporter_to, worker_settings
from .requests import a_request


@pytest.fixture
def models(tmp_path: Path, tiny_folder: Path) -> Path:
    """A folder with two models of different weights, and what is none."""
    folder = tmp_path / "models"
    for name, scale in (("first", 1.0), ("second", 1.5)):
        shutil.copytree(tiny_folder, folder / name)
        _scale_weights(folder / name / "unet" / "diffusion_pytorch_model.safetensors", scale)
    (folder / "notes").mkdir()
    (folder / "readme.txt").write_text("about these models")
    return folder


def _scale_weights(path: Path, scale: float) -> None:
    from safetensors.torch import load_file, save_file

    save_file({name: tensor * scale for name, tensor in load_file(path).items()}, path)


def load(folder: Path, cache: Path, log: list[str] | None = None, **changes: Any) -> Loaded:
    settings = worker_settings(folder, cache, **changes)
    return load_named_models(settings, SILENT if log is None else reporter_to(log))


def reported(loaded: Loaded) -> Models:
    assert loaded.shelf.report is not None
    return loaded.shelf.report


def test_a_folder_of_models_is_all_the_models_in_it(models: Path, tmp_path: Path) -> None:
    (models / "third.safetensors").touch()
    sources = find_sources(worker_settings(models, tmp_path))
    assert [source.name for source in sources] == ["first", "second", "third.safetensors"]


def test_models_may_be_named_one_by_one_and_twice(models: Path, tmp_path: Path) -> None:
    names = (str(models / "second"), str(models), "noise")
    sources = find_sources(worker_settings(models, tmp_path, models=names))
    assert [source.name for source in sources] == ["second", "first", "noise"]


def test_two_models_of_one_name_are_refused(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "first", tmp_path / "elsewhere" / "first")
    names = (str(models / "first"), str(tmp_path / "elsewhere" / "first"))
    with pytest.raises(LoadError, match="two models are called first"):
        find_sources(worker_settings(models, tmp_path, models=names))


def test_a_folder_with_one_model_is_that_model(models: Path, tmp_path: Path) -> None:
    shutil.rmtree(models / "second")
    loaded = load(models, tmp_path)
    assert loaded.shelf.report is None
    assert loaded.shelf.find(None) == "first"


def test_a_model_is_described_before_it_is_loaded_as_it_is_afterwards(tiny_folder: Path, tmp_path: Path) -> None:
    settings = worker_settings(tiny_folder, tmp_path, lora_dir=str(tmp_path), distillation="lightning")
    source = ModelSource(str(tiny_folder), "tiny")
    device = open_device("cpu")
    described = candidate(device, source, settings, SILENT)
    model = load_on(device, source, settings, SILENT)
    assert described.served.model == model.info
    assert described.served.capabilities.max_jobs == model.capabilities.max_jobs


def test_the_size_of_the_weights_is_known_before_they_are_loaded(tiny_folder: Path) -> None:
    from latentcast_worker.model.parts import FolderParts

    device = open_device("cpu")
    parts = FolderParts(tiny_folder, device.tensors, SILENT)
    dtypes = device.dtypes(parts.settings)
    modules = [*parts.text_encoders(dtypes.unet), parts.unet(dtypes.unet), parts.vae(dtypes.vae)]
    assert parts.weight_bytes(dtypes) == pytest.approx(bytes_of(modules), rel=0.01)


def test_each_job_is_drawn_by_its_model_bit_for_bit_as_alone(models: Path, tmp_path: Path) -> None:
    def drawn(shelf: Any, *names: str | None) -> list[bytes]:
        run = EngineRun(shelf)
        run.run(*(a_request(str(index), model=name) for index, name in enumerate(names)), endings=len(names))
        results = {
            report.job_id: payload
            for report, payload in zip(run.reports, run.payloads, strict=True)
            if isinstance(report, Result)
        }
        return [bytes(results[str(index)][0]) for index in range(len(names))]

    alone = {name: drawn(load(models / name, tmp_path).shelf, None)[0] for name in ("first", "second")}
    several = drawn(load(models, tmp_path).shelf, "second", None, "first", "second")
    assert alone["first"] != alone["second"]
    assert several == [alone[name] for name in ("second", "first", "first", "second")]


def test_a_damaged_model_is_named_and_the_others_are_served(models: Path, tmp_path: Path) -> None:
    (models / "broken.safetensors").write_bytes(b"GGUF")
    log: list[str] = []
    report = reported(load(models, tmp_path, log))
    assert [served.model.id for served in report.models] == ["first", "second"]
    (unserved,) = report.unserved
    assert unserved.id == "broken.safetensors"
    assert "is a GGUF file" in unserved.problem
    assert any(line.startswith("error: broken.safetensors is not served") for line in log)


def test_a_model_whose_weights_are_incomplete_is_found_out_when_it_is_loaded(models: Path, tmp_path: Path) -> None:
    (models / "second" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x08" + bytes(7) + b"{}      ")
    shelf = load(models, tmp_path).shelf
    with pytest.raises(LoadError):
        shelf.load("second")
    assert reported_problem(shelf.report) is not None


def reported_problem(report: Models | None) -> str | None:
    assert report is not None
    return report.models[1].problem


def test_a_dropped_model_leaves_nothing_in_memory(models: Path, tmp_path: Path) -> None:
    import gc
    import weakref

    shelf = load(models, tmp_path, lora_dir=str(tmp_path)).shelf
    shelf.load("second")
    model = shelf.loaded("first")
    assert isinstance(model, SdxlModel)
    weights = [weakref.ref(module) for module in (model.unet._unet, model.decoder._vae)]  # pyright: ignore[reportPrivateUsage]
    del model
    assert shelf.drop_all_but({"second"})
    gc.collect()
    assert [weight() for weight in weights] == [None, None]


# Memory of the machine


@pytest.fixture
def meminfo(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "meminfo"
        path.write_text(text)
        return path

    return write


def test_the_room_is_what_the_system_could_give(meminfo: Callable[[str], Path], tmp_path: Path) -> None:
    text = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:  40 kB\n"
    assert available_bytes(meminfo(text), tmp_path / "none") == 40 * 1024


def test_the_limit_of_a_container_counts_without_its_file_cache(meminfo: Callable[[str], Path], tmp_path: Path) -> None:
    for name, text in (("max", "10000"), ("current", "9000"), ("stat", "anon 8500\ninactive_file 500\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert available_bytes(meminfo("MemAvailable:  40 kB\n"), tmp_path) == 1500
    (tmp_path / "memory.max").write_text("max")
    assert available_bytes(meminfo("MemAvailable:  40 kB\n"), tmp_path) == 40 * 1024


def test_a_system_that_says_nothing_has_no_known_room(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "none", tmp_path) is None
