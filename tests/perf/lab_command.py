"""perf/lab as a user calls it, and what it may not leave behind."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAB = str(ROOT / "perf" / "lab")


def lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs perf/lab to its end."""
    return subprocess.run(
        [LAB, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def succeed(*arguments: str, **environment: str) -> str:
    """Runs perf/lab, which must succeed, and returns what it printed."""
    done = lab(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(*arguments: str) -> subprocess.Popen[str]:
    """Starts perf/lab and goes on."""
    return subprocess.Popen(
        [LAB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def namespaces(name: str) -> list[str]:
    """Those of one lab."""
    listed = subprocess.run(
        ["ip", "netns", "list"], check=True, capture_output=True, text=True
    ).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(f"{name}-")]


def state_of(name: str) -> Path:
    return Path("/run/cpdlab") / name


def count_sleeping(seconds: str) -> int:
    """How many processes are `sleep SECONDS`, wherever they run."""
    found = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += process.read_bytes() == f"sleep\0{seconds}\0".encode()
        except OSError:  # it ended
            continue
    return found
