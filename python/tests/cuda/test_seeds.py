"""The seed contract on a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import SCHEDULER_NAMES, SchedulerName

from ..requests import a_plan
from ..test_previews import downscaled, psnr
from ..test_seed_contract import pictures, pictures_of, run_together
from .support import CROWD, Load, alone, decoded, needs_device, params, worst_likeness

pytestmark = needs_device


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_a_seed_means_the_same_composition_as_on_a_cpu(
    exact: SdxlModel, on_cpu: SdxlModel, scheduler: SchedulerName
) -> None:
    asked = params(scheduler=scheduler, num_inference_steps=20)
    ours, theirs = decoded(exact, asked), decoded(on_cpu, asked)
    print(f"{scheduler}: {psnr(ours, theirs):.1f} dB")
    assert psnr(downscaled(ours, 4), downscaled(theirs, 4)) >= 25


def test_exact_mode_gives_the_same_bytes_alone_and_in_a_crowd(exact: SdxlModel) -> None:
    assert pictures(exact, CROWD) == alone(exact)


def test_exact_mode_gives_the_same_bytes_with_and_without_previews(exact: SdxlModel) -> None:
    watched = [replace(request, preview=a_plan()) for request in CROWD]
    assert pictures(exact, watched) == pictures(exact, CROWD)


def test_another_worker_gives_the_same_bytes(exact: SdxlModel, load: Load) -> None:
    assert pictures(load(), CROWD) == pictures(exact, CROWD)


@pytest.mark.parametrize("batch", [2, 4])
def test_shared_calls_give_nearly_the_same_images(exact: SdxlModel, batch: int) -> None:
    costs = CallCosts(tuple(1 + 0.1 * count for count in range(batch)))
    sharing = replace(exact, costs=costs, capabilities=replace(exact.capabilities, max_batch=batch))
    together = run_together(sharing, CROWD)
    steps = sum(request.params.num_inference_steps * request.params.num_images for request in CROWD)
    assert together.telemetry.iterations < steps
    likeness = worst_likeness(pictures_of(together), alone(exact))
    print(f"{batch} together: {likeness:.1f} dB")
    assert likeness >= 45
