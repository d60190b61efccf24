"""When a preview is due."""

from __future__ import annotations

import pytest

from latentcast_worker.job import PreviewCadence

from .requests import a_plan


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
