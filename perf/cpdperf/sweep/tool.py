"""Finds cpd-allreduce-perf, and tells one build of it from another."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

NAME = "cpd-allreduce-perf"
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


def fingerprint(tool: Path) -> str:
    """Tells builds apart, so that a run is not continued with another one."""
    return hashlib.sha256(tool.read_bytes()).hexdigest()[:16]
