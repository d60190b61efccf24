"""The orchestrator's end of the wire, for tests: a ROUTER socket and one worker process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from latentcast_worker.protocol import Command
from latentcast_worker.settings import WorkerSettings

PYTHON_ROOT = Path(__file__).resolve().parents[1]
IDENTITY = "w0.3"
INCARNATION = 3
SETTINGS = WorkerSettings(
    endpoint="ipc://unused",
    slot=0,
    incarnation=INCARNATION,
    models=("noise",),
    tiny_vae="unused",
    device="cpu",
    cache_dir="/unused",
    max_batch=1,
    shortcuts=(),
)

# Far beyond what a loaded machine needs to import torch; nothing waits for it unless the worker is broken.
PATIENCE_SECONDS = 120


class WorkerProcess:
    """Starts `python -m module --settings ... arguments`, and talks to it. `changes` are to the settings."""

    def __init__(self, folder: Path, module: str, *arguments: str, **changes: object) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        endpoint = f"ipc://{folder}/s"
        self._socket.bind(endpoint)
        settings = dataclasses.asdict(dataclasses.replace(SETTINGS, endpoint=endpoint, cache_dir=str(folder)))
        command = [module, "--settings", json.dumps({**settings, **changes}), *arguments]
        search_path = [str(PYTHON_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path), "LATENTCAST_WORKER_THREADS": "1"},
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close(linger=0)
        self._context.term()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def send(self, command: Command, *payload: bytes) -> None:
        self.send_header(json.dumps(dataclasses.asdict(command)).encode(), *payload)

    def send_header(self, header: bytes, *payload: bytes) -> None:
        self._socket.send_multipart([IDENTITY.encode(), header, *payload])

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        assert self._socket.poll(PATIENCE_SECONDS * 1000), f"no message; the worker wrote: {self.output()}"
        identity, header, *payload = self._socket.recv_multipart()
        assert identity.decode() == IDENTITY
        return json.loads(header), payload

    def until(self, kind: str) -> list[tuple[dict[str, Any], list[bytes]]]:
        """All messages up to and with the next one of this type."""
        return list(self._messages_until(kind))

    def _messages_until(self, kind: str) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
        while True:
            message = self.receive()
            yield message
            if message[0]["type"] == kind:
                return
            assert message[0]["type"] not in ("fatal", "failed"), message[0]

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def output(self) -> str:
        """What the worker wrote, once it has ended."""
        self.process.kill()
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()


@contextmanager
def stub_worker(folder: Path, loader: str = "ready", step_seconds: float = 0.0) -> Iterator[WorkerProcess]:
    with WorkerProcess(folder, "tests.stub_worker", loader, str(step_seconds)) as worker:
        yield worker


@contextmanager
def real_worker(folder: Path, model: str, cache_dir: Path, device: str = "cpu") -> Iterator[WorkerProcess]:
    with WorkerProcess(folder, "latentcast_worker", models=(model,), cache_dir=str(cache_dir), device=device) as worker:
        yield worker
