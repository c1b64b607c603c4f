"""What a sweep says while it runs: one line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.plan import Launch

REDRAW_SECONDS = 1.0


def format_duration(seconds: float) -> str:
    """'40 s', '12 min' or '3 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """Tells which launch runs and how long the rest will take."""

    def __init__(self, launches: list[Launch], estimate: Estimate, stream: TextIO) -> None:
        self.waiting = list(launches)
        self.total = len(launches)
        self.estimate = estimate
        self.stream = stream
        self.began = time.monotonic()

    @contextmanager
    def during(self, launch: Launch) -> Iterator[None]:
        """Around a launch."""
        self.drop(launch)
        if not self.stream.isatty():
            self.say(self._line(launch, 0.0))
            yield
            return
        stop = threading.Event()
        redraw = threading.Thread(target=self._redraw, args=(launch, stop), daemon=True)
        redraw.start()
        try:
            yield
        finally:
            stop.set()
            redraw.join()

    def drop(self, launch: Launch) -> None:
        """Waits no longer for a launch."""
        self.waiting = [other for other in self.waiting if other != launch]

    def say(self, text: str) -> None:
        """A line that stays."""
        start = "\r\033[K" if self.stream.isatty() else ""
        print(start + text, file=self.stream, flush=True)

    def _redraw(self, launch: Launch, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.is_set():
            line = self._line(launch, time.monotonic() - began)
            print(f"\r\033[K{line}", end="", file=self.stream, flush=True)
            stop.wait(REDRAW_SECONDS)
        print("\r\033[K", end="", file=self.stream, flush=True)

    def _line(self, launch: Launch, running: float) -> str:
        left = max(0.0, self.estimate.seconds(launch) - running)
        left += self.estimate.total(self.waiting)
        done = self.total - len(self.waiting)
        since = format_duration(time.monotonic() - self.began)
        return f"{done}/{self.total} {launch.name}: {since} so far, {format_duration(left)} left"
