"""One line of progress now and then, with the time left."""

from __future__ import annotations

import time


class Progress:
    """Prints at most one line every few seconds, so that a log file stays readable."""

    __slots__ = ("_first", "_label", "_last_shown_s", "_started_s", "_total")

    def __init__(self, label: str, total: int | None, first: int = 0, every_s: float = 10.0) -> None:
        """Take the number of things to do, or None where a clock says when it is over."""
        self._label, self._total, self._first = label, total, first
        self._started_s = time.monotonic()
        self._last_shown_s = self._started_s - every_s + 1.0

    def show(self, done: int, note: str = "") -> None:
        """Report that ``done`` of the total are finished; prints when it is time to, and always at the end."""
        now = time.monotonic()
        if now - self._last_shown_s < 10.0 and done != self._total:
            return
        self._last_shown_s = now
        pace = (now - self._started_s) / max(done - self._first, 1)
        if self._total is None:
            print(f"{self._label}: {done} {note} {pace:.3f} s each", flush=True)
            return
        left_s = int(pace * (self._total - done))
        print(
            f"{self._label}: {done}/{self._total} {note} {pace:.2f} s each, {left_s // 60}:{left_s % 60:02d} left",
            flush=True,
        )
