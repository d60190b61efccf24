"""What differs between devices, on ones that are not there: a fake backend behind the port, computing on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from latentcast_worker.model import devices
from latentcast_worker.model.decode import InlinePreviews
from latentcast_worker.model.devices import Accelerator, Dtypes, Mps, Rocm, Xpu, open_device
from latentcast_worker.model.load import ModelSource, load_on
from latentcast_worker.model.port import LoadError
from latentcast_worker.model.residency import (
    TILE,
    WORKING_BYTES_PER_PIXEL,
    Residency,
    RestingModules,
    bytes_of,
    plan_residency,
    tile_vae,
)
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import ModelSettings

from .loading import reporter_to, worker_settings
from .reference import denoised
from .requests import a_params, a_plan

CPU = torch.device("cpu")
GIB = 2**30


@dataclass(slots=True)
class FakeBackend:
    """Stands in for `torch.xpu` and its like, and counts what it is asked for."""

    free: int = 100 * GIB
    available: bool = True
    count: int = 1
    waits: int = 0
    releases: int = 0
    opened: list[torch.device] = field(default_factory=list[torch.device])

    def is_available(self) -> bool:
        return self.available

    def device_count(self) -> int:
        return self.count

    def set_device(self, device: torch.device) -> None:
        self.opened.append(device)

    def synchronize(self) -> None:
        self.waits += 1

    def empty_cache(self) -> None:
        self.releases += 1

    def memory_reserved(self, _device: torch.device) -> int:
        return 123

    def mem_get_info(self, _device: torch.device) -> tuple[int, int]:
        return self.free, 2 * self.free

    def get_device_properties(self, _device: torch.device) -> Any:
        return SimpleNamespace(name="a card", total_memory=2 * self.free)


class FakeDevice(Accelerator):
    """An accelerator whose tensors are on the CPU, in fp32, so that its images can be held against the CPU's own."""

    takes_half = False

    def dtypes(self, _model: ModelSettings, /) -> Dtypes:
        return Dtypes(torch.float32, torch.float32, torch.float32)


@pytest.fixture
def load(tiny_folder: Path, tmp_path: Path) -> Callable[[FakeBackend], tuple[SdxlModel, list[str]]]:
    def load(backend: FakeBackend) -> tuple[SdxlModel, list[str]]:
        log: list[str] = []
        source = ModelSource(str(tiny_folder), "noise")
        settings = worker_settings(tiny_folder, tmp_path)
        return load_on(FakeDevice(CPU, backend), source, settings, reporter_to(log)), log

    return load


Load = Callable[[FakeBackend], tuple[SdxlModel, list[str]]]


def test_a_device_without_graphs_makes_the_same_image_and_is_waited_for_after_each_step(
    load: Load, tiny_model: SdxlModel
) -> None:
    backend = FakeBackend()
    model, log = load(backend)
    waits = backend.waits
    params = a_params()
    sample = denoised(model, params)
    assert backend.waits - waits == sample.total_steps
    assert torch.equal(sample.latents, denoised(tiny_model, params).latents)
    assert isinstance(model.previews, InlinePreviews)
    (preview,) = model.start_preview([sample], a_plan()).wait()
    assert preview.shape == (params.height, params.width, 3)
    assert log == []


def test_what_a_device_says_of_itself_is_reported(load: Load) -> None:
    backend = FakeBackend(free=100 * GIB)
    model, _ = load(backend)
    assert (model.device.name, model.device.memory_bytes) == ("a card", 200 * GIB)
    assert model.device_memory_bytes() == 123
    model.release_memory()
    assert backend.releases == 1
    assert model.capabilities.first_call_seconds is None
    assert Rocm(CPU, backend).first_call_seconds == 600


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (None, Residency()),
        (4 * GIB, Residency()),
        (3 * GIB, Residency()),
        (2 * GIB, Residency(encoders_rest=True)),
        (GIB // 2, Residency(encoders_rest=True, tiles_vae=True)),
    ],
)
def test_a_small_card_gives_up_what_it_has_no_room_for(free: int | None, expected: Residency) -> None:
    # SDXL's encoders in fp16, and its native size.
    assert plan_residency(free, 1_635_000_000, 1024 * 1024) == expected


def test_the_working_memory_is_that_of_the_whole_less_the_weights() -> None:
    assert WORKING_BYTES_PER_PIXEL * 1024 * 1024 == 3 * GIB


def test_on_a_small_card_the_encoders_rest_and_make_the_same_embeddings(load: Load, tiny_model: SdxlModel) -> None:
    needed = tiny_model.info.native_width * tiny_model.info.native_height * WORKING_BYTES_PER_PIXEL
    model, log = load(FakeBackend(free=needed - 1))
    assert log == ["info: to fit into the memory of cpu: text encoders wait in host memory"]
    resting = model.prompts._resting  # pyright: ignore[reportPrivateUsage]
    assert resting is not None
    with torch.inference_mode():
        ours, theirs = (each.prompts.encode("a lighthouse") for each in (model, tiny_model))
    assert torch.equal(ours.tokens, theirs.tokens)
    assert torch.equal(ours.pooled, theirs.pooled)
    assert torch.equal(denoised(model, a_params()).latents, denoised(tiny_model, a_params()).latents)


def test_on_a_smaller_card_the_vae_works_in_tiles_as_well(load: Load) -> None:
    model, log = load(FakeBackend(free=0))
    assert log == ["info: to fit into the memory of cpu: text encoders wait in host memory, the VAE works in tiles"]
    vae = model.decoder._vae  # pyright: ignore[reportPrivateUsage]
    assert (vae.use_tiling, vae.tile_latent_min_size) == (True, TILE)
    # One tile is the whole image: nothing changes for it.
    sample = denoised(model, a_params())
    tiled = model.decode(sample)
    vae.disable_tiling()
    assert (tiled == model.decode(sample)).all()


def test_tiles_cover_images_that_are_larger_than_one(tiny_model: SdxlModel) -> None:
    vae: Any = tiny_model.decoder._vae  # pyright: ignore[reportPrivateUsage]
    tile_vae(vae)
    try:
        latents = torch.zeros((1, 4, TILE + 8, TILE + 16))
        with torch.inference_mode():
            image = vae.decode(latents).sample
            moments = vae.encode(image).latent_dist.mean
        assert image.shape[2:] == ((TILE + 8) * 8, (TILE + 16) * 8)
        assert moments.shape == latents.shape
    finally:
        vae.disable_tiling()


def test_resting_modules_are_on_the_device_only_while_they_are_used() -> None:
    module = nn.Linear(3, 2)
    module.register_buffer("scale", torch.ones(2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    # Tensors on `meta` have no values: what is moved there and back must come from the copy on the host.
    resting = RestingModules([module], torch.device("meta"))
    with resting.in_use():
        assert all(tensor.is_meta for tensor in module.state_dict().values())
    with pytest.raises(ZeroDivisionError), resting.in_use():
        _ = 1 // 0
    after = module.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert bytes_of([module]) == (3 * 2 + 2 + 2) * 4


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (Rocm(torch.device("cuda:0"), FakeBackend()), (torch.float16, torch.bfloat16)),
        (Xpu(torch.device("xpu:0"), FakeBackend()), (torch.float16, torch.bfloat16)),
        (Mps(torch.device("mps"), FakeBackend()), (torch.float16, torch.float32)),
    ],
)
def test_the_vae_never_runs_in_fp16_where_it_overflows(
    device: Accelerator, expected: tuple[torch.dtype, torch.dtype]
) -> None:
    dtypes = device.dtypes(ModelSettings())
    assert (dtypes.unet, dtypes.vae) == expected
    assert device.takes_half
    assert not device.has_graphs
    assert device.prompt_graphs() is None


def test_apples_memory_is_not_planned_with() -> None:
    assert Mps(torch.device("mps"), FakeBackend(free=0)).free_bytes() is None
    assert Xpu(torch.device("xpu"), FakeBackend(free=5)).free_bytes() == 5


def test_torch_built_for_rocm_calls_its_devices_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    monkeypatch.setattr(devices.torch, "cuda", backend)
    monkeypatch.setattr(devices.torch.version, "hip", "7.1")
    assert isinstance(open_device("cuda:0"), Rocm)
    assert backend.opened == [torch.device("cuda:0")]
    backend.available = False
    with pytest.raises(LoadError, match="torch sees no ROCm device"):
        open_device("cuda:0")


def test_intels_devices_are_opened_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend(count=2)
    monkeypatch.setattr(devices.torch, "xpu", backend)
    assert isinstance(open_device("xpu:1"), Xpu)
    assert backend.opened == [torch.device("xpu:1")]
    with pytest.raises(LoadError, match="xpu:2 does not exist, there are 2 XPU devices"):
        open_device("xpu:2")


@pytest.mark.parametrize(("name", "sentence"), [("mps", "torch sees no MPS device"), ("xpu:0", "torch sees no XPU")])
def test_a_device_that_is_not_there_says_so(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices.torch, "xpu", FakeBackend(available=False))
    with pytest.raises(LoadError, match=sentence) as caught:
        open_device(name)
    assert caught.value.code == "device_unavailable"
