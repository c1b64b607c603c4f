"""Finds cpd-allreduce-perf, and tells one build of it from another."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NAME = "cpd-allreduce-perf"
MPICH_NAME = "cpd-mpich-perf"
PROBE_SECONDS = 60
ROOT = Path(__file__).resolve().parents[3]


class ToolError(Exception):
    """The program to measure cannot be started; the message says why."""


def find(asked: str | None) -> Path:
    """The program that was asked for, else the installed one, else that of a build tree."""
    if asked:
        found = shutil.which(asked)
        if not found:
            raise ToolError(f"--program {asked}: no such program, or it may not be started")
        return Path(found).resolve()
    places = [Path(sys.executable).parent / NAME]
    places += [ROOT / "build" / preset / "bin" / NAME for preset in ("perf", "release")]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    looked = ", ".join(map(str, places))
    raise ToolError(f"no {NAME} in {looked}: run scripts/setup, or name it with --program")


def beside(tool: Path) -> Path:
    """The program that times MPICH, which is built and installed with the other."""
    return tool.with_name(MPICH_NAME)


def require_mpich(tool: Path) -> None:
    if not os.access(beside(tool), os.X_OK):
        raise ToolError(
            f"no {beside(tool)}, which times MPICH: build where mpicc.mpich is installed"
            " (apt-get install libmpich-dev), or choose other --baselines"
        )


def probe(tool: Path, options: Sequence[str]) -> None:
    """Sums one value in one process with these options, so that a mistake shows before a sweep."""
    command = [str(tool), *options, *("-b", "4", "-e", "4", "-n", "1", "-w", "0", "-c", "0")]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{tool} does not end within {PROBE_SECONDS} s for one value") from None
    except OSError as error:
        raise ToolError(f"{tool} cannot be started: {error}") from None
    if done.returncode:
        raise ToolError(f"{tool} ends with {done.returncode}:\n{done.stdout.strip()[-1000:]}")


def fingerprint(file: Path) -> str:
    """Tells builds and tables apart, so that a run is not continued with another one."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
