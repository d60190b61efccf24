from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from latentcast_worker.protocol import (
    Cancelled,
    Failed,
    ImageSize,
    Preview,
    Progress,
    Result,
    Started,
)
from latentcast_worker.tracing import JobSpans

from .requests import a_request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
INCARNATION = 3


@contextmanager
def collector() -> Iterator[tuple[str, queue.Queue[tuple[str, dict[str, str], Any]]]]:
    """A collector's address, and what it is sent: path, headers, JSON."""
    received: queue.Queue[tuple[str, dict[str, str], Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.put((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def spans_of(export: Any) -> dict[str, dict[str, Any]]:
    (resource,) = export["resourceSpans"]
    return {span["name"]: span for span in resource["scopeSpans"][0]["spans"]}


def run_job(spans: JobSpans, job_id: str = "j", flags: str = "01") -> None:
    spans.received(a_request(job_id, incarnation=INCARNATION, traceparent=f"00-{TRACE}-{PARENT}-{flags}"))
    size = ImageSize(width=8, height=8)
    spans.posted(Started(job_id=job_id, incarnation=INCARNATION, total_steps=4))
    spans.posted(Progress(job_id=job_id, incarnation=INCARNATION, step=0, step_seconds=0.1))
    spans.posted(
        Preview(job_id=job_id, incarnation=INCARNATION, step=0, total_steps=1, images=(size,), preview_seconds=0.02)
    )
    spans.posted(Result(job_id=job_id, incarnation=INCARNATION, images=(size,), warnings=(), decode_seconds=0.03))


def test_a_job_is_one_span_below_the_request_with_its_parts_below_it() -> None:
    with collector() as (url, received):
        spans = JobSpans.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "1.0")
        assert spans is not None
        run_job(spans)
        path, _, export = received.get(timeout=10)
    named = spans_of(export)
    assert path == "/v1/traces"
    assert set(named) == {"worker job", "denoise", "preview", "decode"}
    root = named.pop("worker job")
    assert (root["traceId"], root["parentSpanId"]) == (TRACE, PARENT)
    for span in named.values():
        assert (span["traceId"], span["parentSpanId"]) == (TRACE, root["spanId"])
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    preview = named["preview"]
    assert int(preview["endTimeUnixNano"]) - int(preview["startTimeUnixNano"]) == 20_000_000


def test_no_prompt_is_in_a_trace() -> None:
    with collector() as (url, received):
        spans = JobSpans.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "1.0")
        assert spans is not None
        traceparent = f"00-{TRACE}-{PARENT}-01"
        spans.received(a_request("j", incarnation=INCARNATION, prompt="a secret wish", traceparent=traceparent))
        spans.posted(Failed(job_id="j", incarnation=INCARNATION, code="internal_error", message="about a secret wish"))
        _, _, export = received.get(timeout=10)
    assert "secret" not in json.dumps(export)
    assert spans_of(export)["worker job"]["status"] == {"code": 2, "message": "internal_error"}


def test_jobs_without_a_sampled_context_are_not_traced() -> None:
    with collector() as (url, received):
        spans = JobSpans.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "1.0")
        assert spans is not None
        run_job(spans, "unsampled", "00")
        spans.received(a_request("none", incarnation=INCARNATION, traceparent=None))
        spans.posted(Cancelled(job_id="none", incarnation=INCARNATION, device_seconds=0.0))
        run_job(spans, "sampled")
        _, _, export = received.get(timeout=10)
        spans.close()
        assert received.empty()
    attributes = {item["key"]: item["value"] for item in spans_of(export)["worker job"]["attributes"]}
    assert attributes["latentcast.job.id"] == {"stringValue": "sampled"}


def test_headers_and_address_are_the_standard_variables() -> None:
    with collector() as (url, received):
        spans = JobSpans.from_environment(
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/custom",
                "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b",
                "OTEL_SERVICE_NAME": "pictures",
            },
            "1.0",
        )
        assert spans is not None
        run_job(spans)
        path, headers, export = received.get(timeout=10)
    assert (path, headers["x-key"]) == ("/custom", "a b")
    name = export["resourceSpans"][0]["resource"]["attributes"][0]
    assert name == {"key": "service.name", "value": {"stringValue": "pictures-worker"}}


@pytest.mark.parametrize(
    "env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"}]
)
def test_without_a_collector_there_is_nothing(env: dict[str, str]) -> None:
    assert JobSpans.from_environment(env, "1.0") is None


@pytest.mark.parametrize("kind", ["closed", "nonsense", "not an address"])
def test_a_broken_collector_breaks_nothing(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kind == "closed":
            listener.close()
        elif kind == "nonsense":
            Thread(target=_answer_nonsense, args=(listener,), daemon=True).start()
        else:
            address = "not an address"
        spans = JobSpans.from_environment({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address}, "1.0")
        assert spans is not None
        for index in range(3):
            run_job(spans, f"j{index}")
        assert spans._sender.is_alive()  # pyright: ignore[reportPrivateUsage]
        spans.close()


def _answer_nonsense(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1)
            connection.sendall(b"\x00\xff nonsense\r\n\r\n")
