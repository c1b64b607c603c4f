"""Starts programs, waits for them, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # between asking a program to end and killing it
TIMED_OUT = 124  # as timeout(1) has it


def run_together(
    commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], output: Path, limit: float
) -> int:
    """Runs (command, environment) pairs side by side until all have ended.

    All that they say goes to the file `output`. The first exit code that is not 0 ends the others
    and is returned; TIMED_OUT when `limit` seconds are over.
    """
    processes: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + limit
    try:
        with open(output, "wb") as file:
            for command, environment in commands:
                processes.append(_start(command, environment, file))
        while time.monotonic() < end:
            codes = [process.poll() for process in processes]
            failed = [code for code in codes if code]
            if failed:
                return _exit_code(failed[0])
            if None not in codes:
                return 0
            time.sleep(POLL_SECONDS)
        return TIMED_OUT
    finally:
        _end(processes)


def _start(command: Sequence[str], environment: Mapping[str, str], output) -> subprocess.Popen:
    """A program in a session of its own: a Ctrl-C reaches the sweep alone, which then ends it."""
    return subprocess.Popen(
        list(command),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _exit_code(code: int) -> int:
    """As a shell has it: 128 + the signal that ended the program."""
    return 128 - code if code < 0 else code


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """Asks what still runs to end, then kills it, children included."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        _signal(process, signal.SIGTERM)
    end = time.monotonic() + GRACE_SECONDS
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, end - time.monotonic()))
    for process in processes:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
