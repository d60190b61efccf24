"""Wires the threads of a worker together: IO, engine, previews, and the watch on the parent process."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

from . import __version__
from .codec import EngineCommand, Payload
from .engine import Arrival, Engine, EngineEvent
from .model.port import Loaded, LoadError, Reporter
from .protocol import (
    PROTOCOL_VERSION,
    Fatal,
    Generate,
    Hello,
    Log,
    LogLevel,
    Ready,
    Report,
    Shutdown,
)
from .settings import WorkerSettings
from .telemetry import Telemetry
from .tracing import JobSpans
from .transport import Transport

EXIT_OK = 0
EXIT_FATAL = 1


LoadModels: TypeAlias = Callable[[Reporter], Loaded]


def run_worker(settings: WorkerSettings, load_models: LoadModels) -> int:
    """Runs until a shutdown or a fatal error, and returns the exit code. To be called on the main thread.

    Signals do not end it: a terminal and a service manager send theirs to every process of the unit, and the
    orchestrator decides what they mean. Ends the process at once when stdin reaches its end: the parent is gone, and
    nobody is left to answer to.
    """
    worker = _Worker(settings, load_models)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler that does nothing, not SIG_IGN, which compile helpers would inherit.
        signal.signal(name, lambda _signal, _frame: None)
    threading.excepthook = _end_process
    _watch_parent()
    return worker.run()


class _Worker:
    def __init__(self, settings: WorkerSettings, load_models: LoadModels) -> None:
        self._load_models = load_models
        self._inbox: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        self._telemetry = Telemetry()
        self._spans = JobSpans.from_environment(os.environ, __version__)
        self._exit_code: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ready = False
        self._transport = Transport(
            settings.endpoint,
            settings.slot,
            settings.incarnation,
            deliver=self._receive,
            answer_ping=self._telemetry.pong,
        )
        self._engine_thread = threading.Thread(target=self._run_engine, name="engine", daemon=True)

    def run(self) -> int:
        self._transport.start()
        self._transport.post(Hello(protocol=PROTOCOL_VERSION, pid=os.getpid()))
        self._engine_thread.start()
        code = self._exit_code.get()
        if self._spans is not None:
            self._spans.close()
        self._transport.close()
        return code

    def shut_down(self) -> None:
        """Asks for a clean end: after the current iteration, or at once while the model is still loading."""
        self._inbox.put(Arrival(Shutdown()))
        if not self._ready:
            self._exit_code.put(EXIT_OK)

    def _receive(self, command: EngineCommand, payload: Sequence[bytes]) -> None:
        if isinstance(command, Shutdown):
            self.shut_down()
        else:
            if self._spans is not None and isinstance(command, Generate):
                self._spans.received(command)
            self._inbox.put(Arrival(command, payload))

    def _post(self, report: Report, payload: Payload = (), sent: Callable[[], None] | None = None) -> None:
        if self._spans is not None:
            self._spans.posted(report)
        self._transport.post(report, payload, sent)

    def _run_engine(self) -> None:
        try:
            self._serve()
        except LoadError as error:
            self._transport.post(Fatal(code=error.code, message=str(error)))
            self._exit_code.put(EXIT_FATAL)
        except BaseException as error:  # The thread has no caller, and the worker must not live on without it.
            traceback.print_exc()
            self._transport.post(Fatal(code="internal_error", message=f"{type(error).__name__}: {error}"))
            self._exit_code.put(EXIT_FATAL)
        else:
            self._exit_code.put(EXIT_OK)

    def _serve(self) -> None:
        loaded = self._load_models(Reporter(self._transport.post, self._log))
        shelf = loaded.shelf
        name = shelf.find(None)
        model = None if name is None else shelf.loaded(name)
        assert model is not None
        self._telemetry.device_memory_bytes = loaded.device_memory_bytes
        engine = Engine(shelf, self._inbox, self._post, self._telemetry)
        self._ready = True
        if shelf.report is not None:
            self._transport.post(shelf.report)
        self._transport.post(
            Ready(
                model=model.info,
                device=model.device,
                capabilities=model.capabilities,
                versions=loaded.versions,
                step_seconds=model.costs.seconds[0],
            )
        )
        del model  # The shelf may drop it.
        engine.run()

    def _log(self, level: LogLevel, message: str) -> None:
        print(f"{level}: {message}", file=sys.stderr, flush=True)
        self._transport.post(Log(level=level, message=message, fields={}))


def _end_process(failure: threading.ExceptHookArgs) -> None:
    """A thread that dies leaves a worker that looks alive and does nothing: better dead and replaced."""
    traceback.print_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
    sys.stderr.flush()
    os._exit(EXIT_FATAL)


def _watch_parent() -> None:
    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(EXIT_OK)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
