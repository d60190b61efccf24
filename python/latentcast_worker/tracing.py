"""Spans of jobs for an OpenTelemetry collector, made from the messages that pass by: the engine knows nothing of it.

Written as OTLP over HTTP in JSON with the standard library: tracing must not cost a start without it 200 ms of imports.
Without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing is made and nothing is sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import secrets
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote

from .protocol import Cancelled, Failed, Generate, JobRef, Preview, Progress, Report, Result, Started

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_INTERNAL_SPAN = 1
_ERROR_STATUS = 2
# A collector that is gone must cost no memory: batches beyond these are dropped.
_WAITING_BATCHES = 256
_SEND_TIMEOUT_SECONDS = 5.0
# Within the grace that the orchestrator gives a worker to leave.
_CLOSE_SECONDS = 1.0

Attributes = Mapping[str, str | int | float]


@dataclass(slots=True)
class _Trace:
    """What is known of one job that runs. Times are nanoseconds since 1970, as OTLP has them."""

    trace_id: str
    parent_id: str
    span_id: str
    received: int
    attributes: dict[str, str | int | float]
    started: int | None = None
    last_step: int | None = None
    steps_done: int = 0
    children: list[dict[str, Any]] = field(default_factory=list)


class JobSpans:
    """Hears every command and report. Thread-safe, and never blocks on the network."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Attributes) -> None:
        self._url = url
        self._headers = {"content-type": "application/json", **headers}
        self._resource = resource
        self._traces: dict[str, _Trace] = {}
        self._lock = threading.Lock()
        self._batches: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(_WAITING_BATCHES)
        self._sender = threading.Thread(target=self._send_all, name="traces", daemon=True)
        self._sender.start()

    @classmethod
    def from_environment(cls, env: Mapping[str, str], version: str) -> JobSpans | None:
        """None unless the standard variables name a collector."""
        base = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
        url = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base}/v1/traces" if base else "")
        if not url or env.get("OTEL_SDK_DISABLED") == "true":
            return None
        pairs = (pair.partition("=") for pair in env.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",") if "=" in pair)
        headers = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        name = f"{env.get('OTEL_SERVICE_NAME') or 'latentcast'}-worker"
        return cls(url, headers, {"service.name": name, "service.version": version, "process.pid": os.getpid()})

    def received(self, command: Generate) -> None:
        match = _TRACEPARENT.match(command.traceparent or "")
        if match is None or not int(match[3], 16) & _SAMPLED:
            return
        attributes: dict[str, str | int | float] = {
            "latentcast.job.id": command.job_id,
            "latentcast.epoch": command.incarnation,
            "latentcast.steps": command.params.num_inference_steps,
            "latentcast.width": command.params.width,
            "latentcast.height": command.params.height,
            "latentcast.images": command.params.num_images,
        }
        with self._lock:
            self._traces[command.job_id] = _Trace(match[1], match[2], _span_id(), time.time_ns(), attributes)

    def posted(self, report: Report) -> None:
        if not isinstance(report, JobRef):
            return
        job_id = report.job_id
        now = time.time_ns()
        with self._lock:
            trace = self._traces.get(job_id)
            if trace is None:
                return
            match report:
                case Started():
                    trace.started = now
                case Progress():
                    trace.last_step = now
                    trace.steps_done = report.step + 1
                case Preview():
                    begin = now - _nanoseconds(report.preview_seconds)
                    trace.children.append(_child(trace, "preview", begin, now, {"latentcast.step": report.step}))
                case Result():
                    begin = now - _nanoseconds(report.decode_seconds)
                    trace.children.append(_child(trace, "decode", begin, now, {}))
                    self._end(job_id, trace, now, None)
                case Failed():
                    self._end(job_id, trace, now, report.code)
                case Cancelled():
                    trace.attributes["latentcast.cancelled_after_step"] = trace.steps_done
                    self._end(job_id, trace, now, None)
                case _:
                    pass

    def close(self) -> None:
        """Waits a moment for what has not been sent yet."""
        with contextlib.suppress(queue.Full):
            self._batches.put_nowait(None)
            self._sender.join(_CLOSE_SECONDS)

    def _end(self, job_id: str, trace: _Trace, now: int, failure: str | None) -> None:
        del self._traces[job_id]
        root = _span(trace, "worker job", trace.span_id, trace.parent_id, trace.received, now, trace.attributes)
        if failure is not None:
            root["status"] = {"code": _ERROR_STATUS, "message": failure}
        spans = [root, *trace.children]
        if trace.started is not None and trace.last_step is not None:
            spans.append(_child(trace, "denoise", trace.started, trace.last_step, {}))
        with contextlib.suppress(queue.Full):
            self._batches.put_nowait(spans)

    def _send_all(self) -> None:
        while (spans := self._batches.get()) is not None:
            body = json.dumps(self._export(spans)).encode()
            # Traces are a comfort; images go on without them, and without a collector that answers nonsense.
            with contextlib.suppress(OSError, HTTPException, ValueError):
                request = urllib.request.Request(self._url, body, self._headers, method="POST")
                urllib.request.urlopen(request, timeout=_SEND_TIMEOUT_SECONDS).close()

    def _export(self, spans: list[dict[str, Any]]) -> dict[str, Any]:
        scope = {"scope": {"name": "latentcast_worker"}, "spans": spans}
        return {"resourceSpans": [{"resource": {"attributes": _attributes(self._resource)}, "scopeSpans": [scope]}]}


def _child(trace: _Trace, name: str, begin: int, end: int, attributes: Attributes) -> dict[str, Any]:
    return _span(trace, name, _span_id(), trace.span_id, begin, end, attributes)


def _span(
    trace: _Trace, name: str, span_id: str, parent_id: str, begin: int, end: int, attributes: Attributes
) -> dict[str, Any]:
    return {
        "traceId": trace.trace_id,
        "spanId": span_id,
        "parentSpanId": parent_id,
        "name": name,
        "kind": _INTERNAL_SPAN,
        # 64-bit numbers are text in OTLP's JSON.
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end),
        "attributes": _attributes(attributes),
    }


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: str | int | float) -> dict[str, Any]:
    match value:
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case _:
            return {"doubleValue": value}


def _span_id() -> str:
    return secrets.token_hex(8)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
