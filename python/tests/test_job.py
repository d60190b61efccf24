"""When a preview is due, and what images a job starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from latentcast_worker.inputs import InputImages
from latentcast_worker.job import Job, PreviewCadence
from latentcast_worker.policy import PreviewState
from latentcast_worker.protocol import ImageSize, InputSizes

from .fakes import EngineRun, FakeModel, FakeSample
from .requests import a_plan, a_request, job


@pytest.mark.parametrize(("every", "due"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (5, [0, 5]), (50, [0])])
def test_previews_are_due_every_so_many_steps_from_the_first(every: int, due: list[int]) -> None:
    cadence = PreviewCadence(a_plan(every=every))
    assert [step for step in range(6) if cadence.is_due(step, now=float(step))] == due


def test_the_rate_drops_previews_that_come_too_soon() -> None:
    cadence = PreviewCadence(a_plan(max_per_second=4.0))
    times = [0.0, 0.1, 0.2, 0.25, 0.3, 0.6]
    assert [now for step, now in enumerate(times) if cadence.is_due(step, now)] == [0.0, 0.25, 0.6]


def test_the_first_preview_is_always_due() -> None:
    assert PreviewCadence(a_plan(max_per_second=0.001)).is_due(0, now=0.0)


def test_a_preview_that_falls_due_behind_another_is_due_once_that_has_left() -> None:
    held: Job[FakeSample] = Job(1, a_request(), InputImages())
    states: list[PreviewState] = []
    held.preview_falls_due()
    states.append(held.preview)
    held.preview = "in_flight"
    held.preview_falls_due()
    states.append(held.preview)
    held.preview_has_left()
    states.append(held.preview)
    held.preview = "in_flight"
    held.preview_has_left()
    states.append(held.preview)
    assert states == ["due", "due_behind_another", "due", "none"]


SIZE = ImageSize(width=3, height=2)
IMAGE = bytes(range(18))
MASK = bytes(range(100, 106))


@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
def test_input_images_are_the_payload_frames_in_their_shapes(*, with_image: bool, with_mask: bool) -> None:
    sizes = InputSizes(image=SIZE if with_image else None, mask=SIZE if with_mask else None)
    payload = [frame for frame, wanted in ((IMAGE, with_image), (MASK, with_mask)) if wanted]
    inputs = InputImages.read(sizes, payload)
    assert (inputs.image is not None, inputs.mask is not None) == (with_image, with_mask)
    if inputs.image is not None:
        assert inputs.image.shape == (2, 3, 3)
        assert inputs.image.tobytes() == IMAGE
    if inputs.mask is not None:
        assert inputs.mask.shape == (2, 3)
        assert inputs.mask.tobytes() == MASK


def test_a_job_in_the_engine_holds_its_input_images() -> None:
    run: EngineRun
    held: list[InputImages] = []

    def look(_samples: Sequence[FakeSample]) -> None:
        held.extend(each.inputs for each in run.jobs())

    run = EngineRun(FakeModel(before_step=look))
    request = job("a", num_inference_steps=1, inputs=InputSizes(image=SIZE), strength=1.0, width=3, height=2)
    run.send_with_payload(request, [IMAGE])
    run.run(endings=1)
    (inputs,) = held
    np.testing.assert_array_equal(inputs.image, np.frombuffer(IMAGE, np.uint8).reshape(2, 3, 3))
    assert inputs.mask is None
