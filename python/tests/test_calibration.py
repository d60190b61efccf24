"""Laws of the calibration: what was measured is found again, and nothing on disk can stop a start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.calibration import calibrate
from latentcast_worker.model.calibration_store import Calibration, CalibrationStore
from latentcast_worker.model.sdxl import SdxlModel

KEY = {"device": "a card", "torch": "2", "model": "m"}
FOUND = Calibration(Speed(channels_last=True, attention="cudnn", graphs=True), {1: 0.5, 2: 0.75})


def ignore(_level: str, _message: str) -> None:
    return


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path / "made" / "on the way")
    assert store.read(KEY) is None
    store.write(KEY, FOUND)
    assert store.read(KEY) == FOUND


@pytest.mark.parametrize("name", KEY)
def test_another_device_torch_or_model_is_another_calibration(tmp_path: Path, name: str) -> None:
    store = CalibrationStore(tmp_path)
    store.write(KEY, FOUND)
    assert store.read({**KEY, name: "another"}) is None


def test_writing_leaves_one_file(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path)
    store.write(KEY, FOUND)
    store.write(KEY, Calibration(Speed(), {1: 1.0}))
    assert only_file(tmp_path).suffix == ".json"
    assert store.read(KEY) == Calibration(Speed(), {1: 1.0})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_a_corrupt_file_is_no_calibration(tmp_path: Path, content: bytes) -> None:
    store = CalibrationStore(tmp_path)
    store.write(KEY, FOUND)
    only_file(tmp_path).write_bytes(content)
    assert store.read(KEY) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speed", {}),
        ("speed", {"channels_last": "yes"}),
        ("speed", {"attention": "other"}),
        ("speed", {"unknown": True}),
        ("speed", None),
        ("seconds", {}),
        ("seconds", {"2": 1.0}),
        ("seconds", {"1": 0}),
        ("seconds", {"1": "NaN"}),
        ("seconds", {"0": 1, "1": 1}),
        ("seconds", [1.0]),
        ("key", {}),
    ],
)
def test_a_file_with_other_content_is_no_calibration(tmp_path: Path, field: str, value: object) -> None:
    store = CalibrationStore(tmp_path)
    store.write(KEY, FOUND)
    file = only_file(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    # A speed without fields is the plain one, and a good calibration.
    assert store.read(KEY) == (Calibration(Speed(), FOUND.seconds) if value == {} and field == "speed" else None)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = CalibrationStore(tmp_path / "file" / "below")
    store.write(KEY, FOUND)
    assert store.read(KEY) is None


def test_exact_mode_remembers_nothing_and_shares_nothing(tiny_model: SdxlModel, tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    model = calibrate(tiny_model, 1, CalibrationStore(folder), ignore)
    assert len(model.costs.seconds) == 1
    assert model.capabilities.max_batch == 1
    assert not folder.exists()


def test_the_second_start_finds_the_costs_of_the_first(tiny_model: SdxlModel, tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path)
    first = calibrate(tiny_model, 2, store, ignore)
    assert len(first.costs.seconds) == 2
    second = calibrate(tiny_model, 2, store, ignore)
    assert second.costs == first.costs
