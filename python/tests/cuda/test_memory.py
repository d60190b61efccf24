"""A device that runs out of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.acceleration_graphs import Graphs
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.port import DeviceOutOfMemoryError
from latentcast_worker.model.sdxl import SdxlModel

from ..reference import denoised
from .support import needs_cuda, needs_device, params

pytestmark = [needs_device, needs_cuda]


class Full:
    """Leaves torch no more than it holds while it is entered."""

    def __init__(self, device: torch.device, spare: int = 0) -> None:
        self._device = device
        self._spare = spare

    def __enter__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(self._device).total_memory
        held = torch.cuda.memory_reserved(self._device) + self._spare
        torch.cuda.set_per_process_memory_fraction(held / total, self._device)

    def __exit__(self, *_error: object) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0, self._device)


def large(model: SdxlModel) -> SdxlSample:
    return model.prepare(params(width=512, height=512))[0]


def test_a_step_that_does_not_fit_is_out_of_memory_and_does_no_harm(plain: SdxlModel) -> None:
    expected = denoised(plain, params(width=512, height=512)).latents
    samples = [large(plain) for _ in range(16)]
    with Full(plain.torch_device), pytest.raises(DeviceOutOfMemoryError):
        plain.step(samples)
    assert [sample.steps_done for sample in samples] == [0] * 16
    plain.release_memory()
    sample = samples[0]
    while sample.steps_done < sample.total_steps:
        plain.step([sample])
    assert torch.equal(sample.latents, expected)


def test_a_size_that_leaves_no_room_for_its_graph_runs_without(
    plain: SdxlModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = denoised(plain, params(width=512, height=512)).latents
    captures: list[Graphs] = []
    capture = Graphs._capture  # pyright: ignore[reportPrivateUsage]

    def capture_in_vain(self: Graphs, *arguments: Any) -> Any:
        captures.append(self)
        with Full(plain.torch_device, spare=4 << 20):
            return capture(self, *arguments)

    monkeypatch.setattr(Graphs, "_capture", capture_in_vain)
    plain.unet.use(Speed(graphs=True))
    sample = large(plain)
    while sample.steps_done < sample.total_steps:
        plain.step([sample])
    assert torch.equal(sample.latents, expected)
    assert plain.unet.speed == Speed(graphs=True), "it fell back"
    assert len(captures) == 1
