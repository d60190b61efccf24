"""The demo model on the device under test, loaded once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.port import Reporter
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.settings import ShortcutName

from ..loading import SILENT, load_model
from .support import DEMO, DEVICE, Load


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    cache_dir = tmp_path_factory.mktemp("cache")
    # Set before torch is asked to compile anything; a worker does it before it imports torch.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_dir / "compiled")
    reporter = Reporter(SILENT.loading, lambda level, line: print(f"{level}: {line}"))

    def load_on(device: str = DEVICE, max_batch: int | None = 1, *shortcuts: ShortcutName) -> SdxlModel:
        return load_model(
            DEMO, cache_dir, name="demo", reporter=reporter, device=device, max_batch=max_batch, shortcuts=shortcuts
        )

    return load_on


@pytest.fixture(scope="session")
def exact(load: Load) -> SdxlModel:
    return load()


@pytest.fixture(scope="session")
def on_cpu(load: Load) -> SdxlModel:
    return load("cpu")


@pytest.fixture
def plain(exact: SdxlModel) -> Iterator[SdxlModel]:
    """The same model, whose UNet may be called in any way and is given back as it was."""
    before = exact.unet.speed
    exact.unet.use(Speed())
    yield exact
    exact.unet.use(before)
