from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.judge import CASES
from training.pixels import luma
from training.scenes.canvas import CELL, scattered_cells
from training.scenes.draw import draw_scene
from training.scenes.spec import GROUNDS, THINGS_ON, TIMES, WEATHERS, SceneSpec, random_spec


def some_spec(seed: int) -> SceneSpec:
    return random_spec(np.random.default_rng(seed))


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(64, 120), width=st.integers(64, 120))
@settings(max_examples=25, deadline=None)
def test_any_scene_draws_the_same_image_twice(seed: int, height: int, width: int) -> None:
    spec = some_spec(seed)
    first, second = draw_scene(spec, height, width), draw_scene(spec, height, width)
    assert first.shape == (height, width, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert first.std() > 2.0


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 12), columns=st.integers(1, 12), count=st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_scattered_cells_never_touch(seed: int, rows: int, columns: int, count: int) -> None:
    cells = scattered_cells(np.random.default_rng(seed), rows, columns, count)
    assert len(cells) <= count
    assert all(0 <= row < rows and 0 <= column < columns for row, column in cells)
    apart = [max(abs(a - c), abs(b - d)) for n, (a, b) in enumerate(cells) for c, d in cells[:n]]
    assert all(distance > 1 for distance in apart)


def test_a_star_is_bright_in_the_middle_of_its_cell_and_leaves_the_rest_dark() -> None:
    spec = SceneSpec("night", "clear", "sea", "none", "center", 0.0, "none", "none", 1)
    brightness = luma(draw_scene(spec, 256, 256)[:96] / 255.0)
    cells = brightness.reshape(12, CELL, 32, CELL).transpose(0, 2, 1, 3).reshape(-1, CELL, CELL)
    starry = cells[cells.max(axis=(1, 2)) > 0.5]
    assert len(starry) >= 15
    assert starry[:, 3:5, 3:5].min() > 0.7
    assert max(starry[:, :2].max(), starry[:, 6:].max(), starry[:, :, :2].max(), starry[:, :, 6:].max()) < 0.2


def test_another_seed_draws_another_image() -> None:
    spec = some_spec(3)
    assert not np.array_equal(draw_scene(spec, 96, 96), draw_scene(replace(spec, seed=spec.seed + 1), 96, 96))


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_time_and_weather_draws_on_every_ground(ground: str) -> None:
    for time in TIMES:
        for weather in WEATHERS:
            thing = THINGS_ON[ground][0]  # type: ignore[index]
            spec = SceneSpec(time, weather, ground, "none", "left", 0.0, thing, "none", 5)  # type: ignore[arg-type]
            assert draw_scene(spec, 64, 80).shape == (64, 80, 3)


def test_an_image_too_small_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="64 x 64"):
        draw_scene(some_spec(0), 63, 256)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_random_scenes_obey_nature(seed: int) -> None:
    spec = some_spec(seed)
    assert spec.thing == "none" or spec.thing in THINGS_ON[spec.ground]
    assert not (spec.ground == "desert" and spec.weather == "snowfall")
    assert not (spec.body == "moon" and spec.time in ("sunrise", "morning", "day", "sunset"))
    assert not (spec.body == "sun" and spec.time in ("dusk", "night"))
    assert 0.0 <= spec.height <= 1.0


def test_drawn_scenes_pass_their_own_judgement() -> None:
    """The forty checks are only worth asking of a model if true pictures pass them."""
    right = [
        not case.failures(draw_scene(replace(case.spec, seed=seed), 256, 256)) for case in CASES for seed in range(2)
    ]
    assert len(CASES) >= 40
    assert sum(right) >= 0.97 * len(right)
