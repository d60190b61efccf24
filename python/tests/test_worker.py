"""Whole worker processes over a real socket: what they say, and how they end."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentcast_worker.protocol import Cancel, Generate, ImageSize, InputSizes, Ping, Shutdown

from .requests import a_plan, a_request
from .worker_process import INCARNATION, WorkerProcess, real_worker, stub_worker


def a_job(**changes: Any) -> Generate:
    return a_request(incarnation=INCARNATION, **changes)


def kinds(messages: list[tuple[dict[str, Any], list[bytes]]]) -> list[str]:
    return [header["type"] for header, _ in messages]


def test_an_image_from_hello_to_result(tmp_path: Path, tiny_folder: Path) -> None:
    with real_worker(tmp_path, "noise", tiny_folder.parent) as worker:
        start = worker.until("ready")
        assert kinds(start)[0] == "hello"
        assert {header["stage"] for header, _ in start if header["type"] == "loading"} >= {
            "import",
            "weights",
            "warmup",
        }
        ready = start[-1][0]
        assert ready["model"]["is_noise"]
        assert ready["capabilities"]["max_batch"] == 1

        worker.send(a_job(num_inference_steps=6, num_images=2, width=128, preview=a_plan(every=1)))
        messages = worker.until("result")
        assert kinds(messages).count("preview") == 6
        assert kinds(messages).count("progress") == 6
        for header, payload in messages:
            if header["type"] == "preview":
                pictures = [Image.open(io.BytesIO(jpeg)) for jpeg in payload]
                assert [picture.size for picture in pictures] == [(128, 64), (128, 64)]
        result, payload = messages[-1]
        assert result["images"] == [{"width": 128, "height": 64}] * 2
        first, second = (np.frombuffer(rgb, np.uint8) for rgb in payload)
        assert first.size == second.size == 128 * 64 * 3
        assert not np.array_equal(first, second)

        worker.send(Shutdown())
        assert worker.exit_code() == 0


def test_a_folder_without_a_model_is_fatal_and_named(tmp_path: Path) -> None:
    with real_worker(tmp_path, "/nowhere/at/all", tmp_path) as worker:
        assert kinds([worker.receive()]) == ["hello"]
        while (header := worker.receive()[0])["type"] == "loading":
            pass
        assert header == {"type": "fatal", "code": "model_not_found", "message": "no model at /nowhere/at/all"}
        assert worker.exit_code() == 1


def test_a_model_that_is_not_there_is_fatal(tmp_path: Path) -> None:
    with stub_worker(tmp_path, loader="missing") as worker:
        messages = [worker.receive() for _ in range(3)]
        assert kinds(messages) == ["hello", "loading", "fatal"]
        assert messages[-1][0]["code"] == "model_not_found"
        assert worker.exit_code() == 1


def test_an_error_that_nobody_expects_is_fatal_and_its_trace_is_in_the_log(tmp_path: Path) -> None:
    with stub_worker(tmp_path, loader="crash") as worker:
        fatal = [worker.receive() for _ in range(3)][-1][0]
        assert fatal == {
            "type": "fatal",
            "code": "internal_error",
            "message": "ZeroDivisionError: in the loader",
        }
        assert worker.exit_code() == 1
        assert "Traceback" in worker.output()


@pytest.fixture
def slow_worker(tmp_path: Path) -> Any:
    """Ready, with steps long enough for a command to arrive during one."""
    with stub_worker(tmp_path, step_seconds=0.5) as worker:
        worker.until("ready")
        yield worker


def test_a_ping_is_answered_while_a_step_runs(slow_worker: WorkerProcess) -> None:
    slow_worker.send(a_job())
    slow_worker.until("started")
    slow_worker.send(Ping())
    pong, _ = slow_worker.receive()
    # Its first step still runs; the prompt before it may have been encoded.
    assert pong["type"] == "pong"
    assert pong["iterations"] <= 1
    assert pong["rss_bytes"] > 1 << 20


def test_a_cancel_takes_effect_at_the_end_of_the_running_step(slow_worker: WorkerProcess) -> None:
    slow_worker.send(a_job(num_inference_steps=50))
    slow_worker.until("progress")
    slow_worker.send(Cancel(job_id="job", incarnation=INCARNATION))
    slow_worker.send(Ping())
    messages = slow_worker.until("cancelled")
    told = kinds(messages)
    # The pong says that the cancel has been read, however late a crowded machine came to it. Where none came, the
    # cancel took effect before the ping was read.
    after = told[told.index("pong") + 1 :] if "pong" in told else ["cancelled"]
    assert after in (["cancelled"], ["progress", "cancelled"])
    assert messages[-1][0]["device_seconds"] > 0


def test_commands_of_another_incarnation_are_dropped(slow_worker: WorkerProcess) -> None:
    slow_worker.send(a_request("stale", incarnation=INCARNATION - 1))
    slow_worker.send(Ping())
    assert kinds(slow_worker.until("pong")) == ["log", "pong"]


def test_garbage_is_reported_and_survived(slow_worker: WorkerProcess) -> None:
    slow_worker.send_header(b"\xff not json")
    assert slow_worker.receive()[0]["type"] == "log"
    header = {**dataclasses.asdict(a_job()), "params": {**dataclasses.asdict(a_job().params), "width": "wide"}}
    slow_worker.send_header(json.dumps(header).encode())
    failed, _ = slow_worker.receive()
    assert (failed["type"], failed["code"], failed["job_id"]) == ("failed", "invalid_request", "job")
    slow_worker.send(a_job(num_inference_steps=1))
    assert kinds(slow_worker.until("result"))[0] == "started"


def test_a_job_with_input_images_arrives_whole_and_one_with_wrong_bytes_fails(slow_worker: WorkerProcess) -> None:
    inputs = InputSizes(image=ImageSize(width=8, height=8), mask=ImageSize(width=8, height=8))
    slow_worker.send(a_job(inputs=inputs), bytes(192), bytes(63))
    failed, _ = slow_worker.receive()
    assert (failed["type"], failed["message"]) == ("failed", "inputs.mask has 63 bytes, expected 64")
    slow_worker.send(
        a_job(inputs=inputs, num_inference_steps=1, strength=1.0, width=8, height=8), bytes(192), bytes(64)
    )
    assert kinds(slow_worker.until("result"))[0] == "started"


def test_it_ends_cleanly_in_the_middle_of_a_job(slow_worker: WorkerProcess) -> None:
    slow_worker.send(a_job(num_inference_steps=50))
    slow_worker.until("started")
    slow_worker.send(Shutdown())
    assert slow_worker.exit_code() == 0


def test_it_ends_cleanly_while_it_loads(tmp_path: Path) -> None:
    with stub_worker(tmp_path, loader="endless") as worker:
        worker.until("loading")
        worker.send(Shutdown())
        assert worker.exit_code() == 0


def test_it_ends_when_its_parent_is_gone(slow_worker: WorkerProcess) -> None:
    slow_worker.send(a_job(num_inference_steps=50))
    slow_worker.until("started")
    assert slow_worker.process.stdin is not None
    slow_worker.process.stdin.close()
    slow_worker.exit_code()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_it_leaves_signals_to_its_parent_and_works_on(slow_worker: WorkerProcess, name: str) -> None:
    slow_worker.send(a_job(num_inference_steps=3))
    slow_worker.until("started")
    slow_worker.process.send_signal(signal.Signals[name])
    slow_worker.until("result")
