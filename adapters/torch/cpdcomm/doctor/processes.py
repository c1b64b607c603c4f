"""Runs programs side by side until a deadline; nothing of them runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

_GRACE_SECONDS = 3.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """A command and its environment."""

    command: list[str]
    environment: dict[str, str]


def run_together(programs: list[Program], deadline: float) -> tuple[list[int | None], str]:
    """The exit codes, None for what did not end by itself within so many seconds, and all output.

    Where one fails, the others get a moment to notice.
    """
    processes: list[subprocess.Popen] = []
    with tempfile.TemporaryFile("w+", errors="replace") as output:  # a pipe waits for orphans, too
        try:
            for program in programs:
                processes.append(_start(program, output))
            codes = _wait(processes, time.monotonic() + deadline)
        finally:
            for process in processes:
                _end(process)
        output.seek(0)
        return codes, output.read()


def _start(program: Program, output: IO[str]) -> subprocess.Popen:
    return subprocess.Popen(
        program.command,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait(processes: list[subprocess.Popen], last: float) -> list[int | None]:
    while True:
        codes = [process.poll() for process in processes]
        if None not in codes or time.monotonic() > last:
            return codes
        if any(codes):
            last = min(last, time.monotonic() + _GRACE_SECONDS)
        time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen) -> None:
    """mpirun ends its ranks when it is asked politely."""
    if process.poll() is not None:
        return
    _signal_all(process, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_all(process, signal.SIGKILL)
        process.wait()


def _signal_all(process: subprocess.Popen, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signum)
