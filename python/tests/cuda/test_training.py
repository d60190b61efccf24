"""Training on the device: one recorded graph gives the gradients of passes that run one kernel after the other."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from training.checkpoint import Machine
from training.config import DEMO
from training.refine.gradients import gradients_of
from training.refine.resident import resident_loss
from training.refine.train import load_networks

from .support import DEMO as MODEL
from .support import DEVICE, needs_device

pytestmark = needs_device


def some_inputs(seed: int, side: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    times = torch.tensor([[8.0 * side, 8.0 * side, 0.0, 0.0, 8.0 * side, 8.0 * side]]).expand(4, 6)
    steps = torch.randint(1000, (4,), generator=generator)
    values = (normal(4, 4, side, side), steps, normal(4, 77, 128), normal(4, 64), times)
    return tuple(some.to(DEVICE) for some in (*values, normal(4, 4, side, side), torch.ones(4)))


def test_recorded_gradients_are_those_of_the_plain_passes() -> None:
    machine = Machine(torch.device(DEVICE), is_bfloat16=False)
    networks, _ = load_networks(MODEL, DEMO.diffusion)
    networks.to(DEVICE).eval()
    unet: Any = networks.unet  # As tensor cores want it; diffusers annotates `to` in its own way.
    unet.to(memory_format=torch.channels_last)
    parameters = list(networks.unet.parameters())
    with gradients_of(partial(resident_loss, networks, machine), networks.unet, machine) as gradients:
        for seed, side in ((1, 32), (2, 24), (3, 32)):
            inputs = some_inputs(seed, side)
            loss = gradients(*inputs)
            found = [parameter.grad for parameter in parameters]
            wanted = resident_loss(networks, machine, *inputs)
            expected = torch.autograd.grad(wanted, parameters)
            torch.testing.assert_close(loss, wanted.detach(), rtol=1e-3, atol=1e-4)
            norm = torch.stack([gradient.norm() for gradient in expected]).norm()
            errors = [
                float((mine - its).norm() / norm) for mine, its in zip(found, expected, strict=True) if mine is not None
            ]
            assert len(errors) == len(parameters)
            assert max(errors) < 1e-3
