"""The IO thread: the only owner of the ZeroMQ socket.

It reads commands while the engine computes, answers `ping` itself, and sends reports in the order in which they were
posted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from .codec import EngineCommand, Payload, ProtocolError, decode_command, encode_report
from .protocol import (
    Cancel,
    Failed,
    Generate,
    Log,
    Ping,
    Pong,
    Report,
    Shutdown,
)

# How long a closing worker waits for its last report to leave: plenty for a few images over a local socket.
LINGER_MS = 1000

# Messages that may wait inside ZeroMQ. Beyond it they wait in the outbox, where a preview still counts as its job's
# unsent one.
SEND_HIGH_WATER_MARK = 64


@dataclass(frozen=True, slots=True)
class _Parcel:
    report: Report
    payload: Payload
    sent: Callable[[], None] | None


class Transport:
    """Connects a DEALER under `w<slot>.<incarnation>` and runs until `close`.

    `deliver` gets every command except `ping` with its payload, on the IO thread; `answer_ping` makes the pong.
    Commands of another incarnation than `incarnation` are dropped.
    """

    def __init__(
        self,
        endpoint: str,
        slot: int,
        incarnation: int,
        deliver: Callable[[EngineCommand, Sequence[bytes]], None],
        answer_ping: Callable[[], Pong],
    ) -> None:
        self._endpoint = endpoint
        self._identity = f"w{slot}.{incarnation}"
        self._incarnation = incarnation
        self._deliver = deliver
        self._answer_ping = answer_ping
        self._outbox: deque[_Parcel] = deque()
        self._close_by: float | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, report: Report, payload: Payload = (), sent: Callable[[], None] | None = None) -> None:
        """Queues a report from any thread. `sent` is called on the IO thread once ZeroMQ has taken the message.

        The IO thread makes the bytes: the engine posts between two steps, while the device has nothing to do. Nobody
        may change what the payload shows.
        """
        self._outbox.append(_Parcel(report, payload, sent))
        self._wake()

    def close(self) -> None:
        """Sends what was posted, then ends the thread. Waits no longer than linger for a peer that does not read."""
        self._close_by = time.monotonic() + LINGER_MS / 1000
        self._wake()
        self._thread.join(2 * LINGER_MS / 1000)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # A full pipe holds wake-ups enough.
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, self._identity.encode())
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
        socket.connect(self._endpoint)
        try:
            self._serve(socket)
        finally:
            socket.close()
            context.term()

    def _serve(self, socket: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(self._wake_read, zmq.POLLIN)
        while True:
            blocked = not self._send_outbox(socket)
            patience_ms = None if self._close_by is None else max(0, int(1000 * (self._close_by - time.monotonic())))
            if patience_ms is not None and (not blocked or patience_ms == 0):
                return
            poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
            ready = dict(poller.poll(patience_ms))
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            if ready.get(socket, 0) & zmq.POLLIN:
                self._receive_all(socket)

    def _send_outbox(self, socket: zmq.Socket[bytes]) -> bool:
        """Sends until the outbox is empty (True) or the socket takes no more (False)."""
        while self._outbox:
            parcel = self._outbox[0]
            try:
                frames = (encode_report(parcel.report), *parcel.payload)
                socket.send_multipart(frames, flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
            self._outbox.popleft()
            if parcel.sent is not None:
                parcel.sent()
        return True

    def _receive_all(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._receive(frames)

    def _receive(self, frames: Sequence[bytes]) -> None:
        try:
            received = decode_command(frames)
        except ProtocolError as error:
            self._refuse(error)
            return
        match received.command:
            case Ping():
                self.post(self._answer_ping())
            case Generate() | Cancel() as command if command.incarnation != self._incarnation:
                fields = {"type": command.type, "incarnation": command.incarnation}
                self.post(Log(level="debug", message="command of another incarnation", fields=fields))
            case Generate() | Cancel() | Shutdown() as command:
                self._deliver(command, received.payload)

    def _refuse(self, error: ProtocolError) -> None:
        print(f"unreadable command: {error}", file=sys.stderr, flush=True)
        job = error.job
        if job is None:
            self.post(Log(level="warn", message="unreadable command", fields={"problem": str(error)}))
        else:
            self.post(
                Failed(job_id=job.job_id, incarnation=job.incarnation, code="invalid_request", message=str(error))
            )
