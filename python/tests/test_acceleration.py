"""How the UNet is called: nothing changes on a CPU, and whatever breaks a fast way leads back to the plain one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from latentcast_worker.model.acceleration import AcceleratedUNet, Speed
from latentcast_worker.model.calibration import tune
from latentcast_worker.model.port import DeviceOutOfMemoryError

CPU = torch.device("cpu")


class OneConvolution(nn.Module):
    """Takes what the UNet takes. `before` may fail a call."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)
        self.before = before
        self.compilations = 0

    def compile_repeated_blocks(self, *, fullgraph: bool, dynamic: bool) -> None:
        assert fullgraph
        assert not dynamic
        self.compilations += 1

    def forward(
        self,
        latents: Tensor,
        _timesteps: Tensor,
        encoder_hidden_states: Tensor,
        added_cond_kwargs: dict[str, Tensor],
        return_dict: bool,
    ) -> tuple[Tensor]:
        assert not return_dict
        self.before()
        shift = encoder_hidden_states.sum() + sum(tensor.sum() for tensor in added_cond_kwargs.values())
        return (self.convolution(latents) + shift,)


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _level: str, message: str) -> None:
        self.lines.append(message)


def call(unet: AcceleratedUNet) -> Tensor:
    with torch.inference_mode():
        return unet(torch.ones(2, 4, 8, 8), torch.ones(2), torch.ones(2, 77, 8), torch.ones(2, 8), torch.ones(2, 6))


def test_a_cpu_is_left_alone() -> None:
    unet = AcceleratedUNet(OneConvolution(), CPU, Log())
    assert not unet.is_tunable
    assert unet.speed == Speed()


def test_layout_and_attention_come_and_go_without_changing_the_image() -> None:
    torch.manual_seed(0)
    module = OneConvolution()
    unet = AcceleratedUNet(module, CPU, Log())
    plain = call(unet)
    unet.use(Speed(channels_last=True, attention="flash"))
    assert module.convolution.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(call(unet), plain)
    unet.use(Speed())
    assert module.convolution.weight.is_contiguous()
    assert torch.equal(call(unet), plain)


def test_a_call_that_breaks_when_compiled_is_made_uncompiled() -> None:
    def break_once() -> None:
        if unet.speed.compiled:
            raise RuntimeError("no kernel\nand why")

    module = OneConvolution(break_once)
    log = Log()
    unet = AcceleratedUNet(module, CPU, log)
    unet.use(Speed(compiled=True))
    assert module.compilations == 1
    assert call(unet).shape == (2, 4, 8, 8)
    assert unet.speed == Speed()
    assert log.lines == ["the UNet runs uncompiled from now on: RuntimeError: no kernel"]


def test_running_out_of_memory_is_no_reason_to_slow_down() -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("full")

    unet = AcceleratedUNet(OneConvolution(fail), CPU, Log())
    unet.use(Speed(compiled=True))
    with pytest.raises(DeviceOutOfMemoryError):
        call(unet)
    assert unet.speed.compiled


def test_an_error_of_the_plain_way_is_raised() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        call(AcceleratedUNet(OneConvolution(fail), CPU, Log()))


class Clock:
    """Seconds of a call for each way of making it; what has none cannot be used."""

    def __init__(self, unet: AcceleratedUNet, seconds: Callable[[Speed], float]) -> None:
        self._unet = unet
        self._seconds = seconds
        self.tried: list[Speed] = []

    def __call__(self) -> float:
        self.tried.append(self._unet.speed)
        return self._seconds(self._unet.speed)


class Switches(AcceleratedUNet):
    """Takes every speed without doing anything about it."""

    def use(self, speed: Speed) -> None:
        self.speed = speed


def switches() -> Switches:
    return Switches(OneConvolution(), CPU, Log())


def test_what_gains_is_kept_and_what_costs_is_taken_back() -> None:
    def seconds(speed: Speed) -> float:
        gain = {"default": 0.0, "cudnn": 0.1, "flash": 0.05}[speed.attention]
        return 1.0 + 0.2 * speed.channels_last - gain - 0.2 * speed.compiled - 0.1 * speed.graphs

    unet = switches()
    tune(unet, Clock(unet, seconds), Log(), exact=False)
    assert unet.speed == Speed(channels_last=False, attention="cudnn", compiled=True, graphs=True)


def test_what_gains_only_in_a_graph_is_found() -> None:
    """Compiled blocks on a GPU that is faster than its host: slow to launch one by one, and fast in a graph."""

    def seconds(speed: Speed) -> float:
        kernels, launching = (0.036, 0.072) if speed.compiled else (0.041, 0.053)
        return kernels if speed.graphs else max(kernels, launching)

    unet = switches()
    tune(unet, Clock(unet, seconds), Log(), exact=False)
    assert unet.speed == Speed(compiled=True, graphs=True)


def test_a_gain_within_the_noise_is_no_gain() -> None:
    unet = switches()
    tune(unet, Clock(unet, lambda speed: 1.0 - 0.005 * speed.compiled), Log(), exact=False)
    assert unet.speed == Speed()


def test_exact_mode_tries_only_what_keeps_the_bits() -> None:
    unet = switches()
    clock = Clock(unet, lambda speed: 1.0 if speed == Speed() else 0.5)
    tune(unet, clock, Log(), exact=True)
    assert clock.tried == [Speed(), Speed(graphs=True)]
    assert unet.speed == Speed(graphs=True)


@pytest.mark.parametrize("exact", [True, False])
def test_where_graphs_are_not_allowed_none_is_tried(exact: bool) -> None:
    unet = switches()
    clock = Clock(unet, lambda speed: 1.0 - 0.5 * speed.graphs)
    tune(unet, clock, Log(), exact=exact, allow_graphs=False)
    assert not any(speed.graphs for speed in clock.tried)
    assert unet.speed == Speed()


def test_what_cannot_be_used_is_skipped_with_a_warning() -> None:
    def seconds(speed: Speed) -> float:
        if speed.compiled:
            raise RuntimeError("no compiler")
        return 1.0 - 0.1 * speed.graphs

    unet = switches()
    log = Log()
    tune(unet, Clock(unet, seconds), log, exact=False)
    assert unet.speed == Speed(graphs=True)
    assert log.lines == [
        "the UNet cannot run compiled blocks, CUDA graphs: RuntimeError: no compiler",
        "milliseconds of a step by how the UNet runs: as it comes 1000.0; CUDA graphs 900.0; "
        "channels last, CUDA graphs 900.0; cudnn attention, CUDA graphs 900.0; flash attention, CUDA graphs 900.0",
    ]


def test_a_way_that_fell_back_by_itself_is_not_taken_for_fast() -> None:
    def seconds(speed: Speed) -> float:
        if speed.graphs:
            unet.speed = Speed()
            return 0.1
        return 1.0

    unet = switches()
    tune(unet, Clock(unet, seconds), Log(), exact=True)
    assert unet.speed == Speed()
