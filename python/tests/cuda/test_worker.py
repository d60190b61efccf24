"""The whole worker on a device."""

from __future__ import annotations

from pathlib import Path

from latentcast_worker.protocol import Cancel, Shutdown

from ..requests import a_plan
from ..worker_process import INCARNATION, real_worker
from .support import DEMO, DEVICE, an_image, needs_device

pytestmark = needs_device


def test_a_worker_serves_images_and_previews_and_stops_at_once(tmp_path: Path) -> None:
    with real_worker(tmp_path, str(DEMO), tmp_path, DEVICE) as worker:
        ready = worker.until("ready")[-1][0]
        assert ready["device"]["id"] == DEVICE
        worker.send(an_image(incarnation=INCARNATION, preview=a_plan()))
        messages = worker.until("result")
        assert [header["type"] for header, _ in messages].count("preview") == 8
        assert len(messages[-1][1][0]) == 256 * 256 * 3
        worker.send(an_image("left", incarnation=INCARNATION, num_inference_steps=50))
        worker.until("progress")
        worker.send(Cancel(job_id="left", incarnation=INCARNATION))
        after = [header["type"] for header, _ in worker.until("cancelled")]
        assert after.count("progress") < 10
        worker.send(Shutdown())
        assert worker.exit_code() == 0
