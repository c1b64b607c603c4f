"""Runs programs so that nothing of them is left, whatever happens to them or to us.

Each program runs in a process namespace of its own. The kernel ends all that is in it as soon as
its first process ends, and that one dies with us, even when we are killed.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from cpdperf.lab.signals import held_back
from cpdperf.lab.tools import find

GRACE_SECONDS = 3.0
TIME_LIMIT_EXIT_CODE = 124  # as timeout(1)
_LONGEST_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """A command and its environment."""

    command: list[str]
    environment: dict[str, str]


def run_together(
    programs: list[Program], limit: float | None = None, output: IO | int | None = None
) -> int:
    """Runs them side by side; 0, or the exit code of the first that failed, which ends the others.

    A program that a signal ended counts as 128 + signal, as in a shell. After `limit` seconds all
    are ended, and the code is 124.
    """
    deadline = None if limit is None else time.monotonic() + limit
    running: list[subprocess.Popen] = []
    try:
        for program in programs:
            running.append(_start(program, output))
        return _wait(running, deadline)
    finally:
        with held_back():
            _end(running)


def _start(program: Program, output: IO | int | None) -> subprocess.Popen:
    return subprocess.Popen(
        _contained(program.command),
        env=program.environment,
        stdout=output,
        start_new_session=True,  # signals reach it through us alone
    )


def _contained(command: list[str]) -> list[str]:
    return [
        *(find("setpriv"), "--pdeathsig", "KILL"),
        *(find("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"),
        # The first process of a namespace ignores signals; so it is a shell, not the program.
        *("sh", "-c", '"$@"; exit $?', "sh", *command),
    ]


def _wait(running: list[subprocess.Popen], deadline: float | None) -> int:
    poll = 0.001
    while True:
        codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        if failed:
            return _as_exit_code(failed[0])
        if None not in codes:
            return 0
        if deadline is not None and time.monotonic() > deadline:
            print("lab: the time limit is over, all is ended", file=sys.stderr)
            return TIME_LIMIT_EXIT_CODE
        time.sleep(poll)
        poll = min(2 * poll, _LONGEST_POLL_SECONDS)


def _as_exit_code(returncode: int) -> int:
    return returncode if returncode > 0 else 128 - returncode


def _end(running: list[subprocess.Popen]) -> None:
    """Asks those that still run to end, and after the grace ends them."""
    alive = [process for process in running if process.poll() is None]
    for process in alive:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
