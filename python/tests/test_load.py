"""What can be wrong with a model, in words for whoever has to put it right; and what a model says of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from latentcast_worker.model import calibration, hub, sdxl
from latentcast_worker.model.denoise import SdxlSample, denoise_step
from latentcast_worker.model.devices import open_device
from latentcast_worker.model.hub import find_model
from latentcast_worker.model.memory import memory_guard
from latentcast_worker.model.port import DeviceOutOfMemoryError, InvalidRequestError, LoadError
from latentcast_worker.model.schedulers import make_scheduler, own_scheduler_name
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import SDXL_LATENT_RGB, ModelSettings, read_settings
from latentcast_worker.policy import Shape
from latentcast_worker.protocol import SCHEDULER_NAMES, ModelVocabulary, SchedulerName
from latentcast_worker.tiny_sdxl.folder import ensure_tiny_sdxl

from .loading import SILENT, load_model, reporter_to
from .requests import a_params

PACKAGE_ROOT = Path(__file__).parents[1]


def load(folder: Path, cache_dir: Path, tiny_vae: str = "unused") -> tuple[SdxlModel, list[str]]:
    logged: list[str] = []
    model = load_model(folder, cache_dir, tiny_vae=tiny_vae, reporter=reporter_to(logged))
    return model, logged


@pytest.fixture
def own_folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def remove_unet_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def cut_vae_weights(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off")


def remove_tokenizer(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")


def break_scheduler(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")


def break_settings(folder: Path) -> None:
    (folder / "latentcast.json").write_text('{"native_size": [256]}')


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (remove_unet_weights, "unet"),
        (cut_vae_weights, "vae"),
        (remove_tokenizer, "tokenizer"),
        (break_scheduler, "scheduler"),
        (break_settings, "latentcast.json"),
    ],
)
def test_a_damaged_model_is_invalid_and_the_part_is_named(
    own_folder: Path, tmp_path: Path, damage: Callable[[Path], None], names: str
) -> None:
    damage(own_folder)
    with pytest.raises(LoadError, match=names) as caught:
        load(own_folder, tmp_path)
    assert caught.value.code == "model_invalid"


def test_without_a_tiny_decoder_previews_are_linear_and_the_log_says_so(own_folder: Path, tmp_path: Path) -> None:
    settings = json.loads((own_folder / "latentcast.json").read_text())
    del settings["tiny_vae"]
    (own_folder / "latentcast.json").write_text(json.dumps(settings))
    model, logged = load(own_folder, tmp_path, tiny_vae=str(tmp_path / "nowhere"))
    assert model.capabilities.preview_decoders == ("linear",)
    assert any("no tiny decoder" in line for line in logged)


def test_a_model_describes_itself(tiny_model: SdxlModel) -> None:
    info = tiny_model.info
    assert (info.native_width, info.native_height, info.min_side, info.max_side) == (256, 256, 64, 1024)
    assert (info.default_scheduler, info.is_noise) == ("euler", True)
    assert tiny_model.device.id == "cpu"
    assert tiny_model.device.dtype == "float32"
    assert tiny_model.costs.seconds[0] > 0


def test_a_cpu_that_is_slow_is_not_kept_busy_with_measuring(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[Shape] = []

    def step(samples: Sequence[SdxlSample], *others: Any) -> None:
        shapes.extend(sample.shape for sample in samples)
        denoise_step(samples, *others)

    monkeypatch.setattr(calibration, "SLOW_STEP_SECONDS", 0.0)
    monkeypatch.setattr(sdxl, "denoise_step", step)
    model = load_model(tiny_folder, tmp_path, max_batch=None)
    assert set(shapes) == {(8, 8, 77)}
    assert model.capabilities.max_batch == 1
    assert model.costs.seconds[0] > 0


@pytest.mark.parametrize(("width", "height"), [(56, 64), (64, 1032), (100, 64), (64, 68)])
def test_sizes_that_the_model_cannot_make_are_refused(tiny_model: SdxlModel, width: int, height: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(width if width != 64 else height)):
        tiny_model.check(a_params(width=width, height=height))


def test_clip_skip_beyond_the_layers_of_the_smaller_text_encoder_is_refused(tiny_model: SdxlModel) -> None:
    tiny_model.check(a_params(clip_skip=2))
    with pytest.raises(InvalidRequestError, match="clip_skip 3 is above 2"):
        tiny_model.check(a_params(clip_skip=3))


def test_the_tiny_model_is_made_once(tiny_folder: Path) -> None:
    weights = tiny_folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert ensure_tiny_sdxl(tiny_folder.parent) == tiny_folder
    assert weights.stat().st_mtime_ns == before
    assert [path.name for path in tiny_folder.parent.iterdir() if path.name.startswith(".tiny")] == []


def test_the_tiny_model_is_the_same_everywhere(tiny_folder: Path, tmp_path: Path) -> None:
    other = ensure_tiny_sdxl(tmp_path)
    weights = Path("unet", "diffusion_pytorch_model.safetensors")
    assert (other / weights).read_bytes() == (tiny_folder / weights).read_bytes()


# The hub


@pytest.mark.parametrize("name", ["nowhere", "/no/where", "a/b/c", "../no/such/folder"])
def test_what_is_neither_a_folder_nor_an_id_is_not_found(name: str) -> None:
    with pytest.raises(LoadError, match="no model at") as caught:
        find_model(name, SILENT, half_precision=False)
    assert caught.value.code == "model_not_found"


def raising(error: Exception) -> Callable[..., str]:
    def download(*_arguments: Any, **_options: Any) -> str:
        raise error

    return download


RESPONSE: Any = SimpleNamespace(headers={}, request=None, status_code=404)
NOT_THERE = RepositoryNotFoundError("404", response=RESPONSE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LocalEntryNotFoundError("offline"), "download_failed"),
        (OSError(28, "No space left on device"), "download_failed"),
        (NOT_THERE, "model_not_found"),
    ],
)
def test_a_failed_download_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    monkeypatch.setattr(hub, "snapshot_download", raising(error))
    with pytest.raises(LoadError, match="some/model") as caught:
        find_model("some/model", SILENT, half_precision=False)
    assert caught.value.code == code


def test_a_cache_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path) -> None:
    # In a process of its own: the hub's client reads its settings when it is imported. Nobody makes folders in a file.
    (tmp_path / "file").touch()
    program = (
        "from latentcast_worker.model.hub import find_model\n"
        "from latentcast_worker.model.port import LoadError, Reporter\n"
        "silent = Reporter(loading=lambda _: None, log=lambda *_, **__: None)\n"
        "try:\n    find_model('some/model', silent, half_precision=False)\n"
        "except LoadError as error:\n    print(error.code, error)\n"
    )
    env = {"HF_HOME": str(tmp_path / "file" / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": os.defpath}
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=PACKAGE_ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"download_failed HF_HOME: \S+file/cache\S* cannot be used \(ENOTDIR\), .*some/model.*\n", told)


# Settings


def test_a_model_without_settings_is_sdxl(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == ModelSettings()
    assert ModelSettings().latent_rgb == SDXL_LATENT_RGB


def test_settings_are_read_whole(tmp_path: Path) -> None:
    rgb = {"weights": [[1, 2, 3]] * 4, "bias": [0.5, 0, -0.5]}
    told = {
        "name": "demo",
        "native_size": [256, 192],
        "min_size": 128,
        "max_size": 512,
        "default_steps": 12,
        "default_guidance_scale": 3,
        "tiny_vae": "tiny",
        "latent_rgb": rgb,
        "cpu_dtype": "bfloat16",
        "examples": ["a", "b"],
        "vocabulary": {"summary": "seas", "subjects": ["sea"], "modifiers": []},
    }
    (tmp_path / "latentcast.json").write_text(json.dumps(told))
    settings = read_settings(tmp_path)
    assert settings.native_size == (256, 192)
    assert (settings.min_size, settings.max_size, settings.default_steps) == (128, 512, 12)
    assert settings.default_guidance_scale == 3.0
    assert settings.tiny_vae == "tiny"
    assert settings.latent_rgb.weights == ((1.0, 2.0, 3.0),) * 4
    assert settings.latent_rgb.bias == (0.5, 0.0, -0.5)
    assert settings.cpu_dtype == "bfloat16"
    assert settings.examples == ("a", "b")
    assert settings.vocabulary == ModelVocabulary(summary="seas", subjects=("sea",), modifiers=())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"native_size": 5}',
        '{"min_size": "x"}',
        '{"latent_rgb": {}}',
        '{"cpu_dtype": "int8"}',
        '{"examples": 1}',
        '{"vocabulary": {}}',
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "latentcast.json").write_text(text)
    with pytest.raises(LoadError) as caught:
        read_settings(tmp_path)
    assert caught.value.code == "model_invalid"


# Schedulers and devices


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_a_served_scheduler_knows_its_own_name(name: SchedulerName) -> None:
    made = make_scheduler(EulerDiscreteScheduler(), name)
    assert own_scheduler_name(made) == name
    assert own_scheduler_name(make_scheduler(made, None)) == name


def test_a_variant_of_a_served_scheduler_has_no_name() -> None:
    assert own_scheduler_name(DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=3)) is None


@pytest.mark.parametrize(
    "own",
    [
        HeunDiscreteScheduler(),
        DPMSolverMultistepScheduler(algorithm_type="dpmsolver", final_sigmas_type="sigma_min"),
    ],
)
def test_a_scheduler_that_cannot_be_served_is_recognised(own: Any) -> None:
    with pytest.raises(KeyError):
        own_scheduler_name(own)


def test_a_named_scheduler_keeps_the_models_noise_schedule() -> None:
    own = DDIMScheduler(beta_start=0.001, beta_end=0.02, timestep_spacing="leading", steps_offset=1)
    made = make_scheduler(own, "euler")
    assert (made.config.beta_start, made.config.timestep_spacing, made.config.steps_offset) == (0.001, "leading", 1)


@pytest.mark.parametrize("name", ["tpu:0", "meta", "nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_unavailable(name: str) -> None:
    with pytest.raises(LoadError) as caught:
        open_device(name)
    assert caught.value.code == "device_unavailable"


@pytest.mark.parametrize("threads", ["0", "-1", "many", ""])
def test_an_invalid_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("LATENTCAST_WORKER_THREADS", threads)
    with pytest.raises(LoadError, match="LATENTCAST_WORKER_THREADS"):
        open_device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 4 TB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_every_way_to_run_out_of_memory_has_one_name(error: RuntimeError) -> None:
    with pytest.raises(DeviceOutOfMemoryError), memory_guard():
        raise error


def test_other_errors_keep_theirs() -> None:
    with pytest.raises(RuntimeError, match="shape mismatch"), memory_guard():
        raise RuntimeError("shape mismatch")
