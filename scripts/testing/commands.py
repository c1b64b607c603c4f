"""Commands that stages run: what they print is seen at once, how long they took is kept."""

import os
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"


class Failed(Exception):
    """A command that failed; `repeat` is what a person types to see it fail alone."""

    def __init__(self, repeat):
        super().__init__(repeat)
        self.repeat = repeat


@dataclass(frozen=True)
class Finished:
    code: int
    seconds: float


def shown(command):
    """A command as it can be typed in the root of the clone."""
    words = [str(word) for word in command]
    prefix = f"{ROOT}{os.sep}"
    return shlex.join(word.removeprefix(prefix) for word in words)


def run(command, **environment):
    """Runs a command in the root of the clone to its end."""
    start = time.monotonic()
    # Many ranks share few cores: each with one thread of its own.
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    code = subprocess.run([str(word) for word in command], cwd=ROOT, env=surroundings).returncode
    return Finished(code, time.monotonic() - start)


def must(command, **environment):
    """Runs a command whose failure ends the stage.

    Raises:
        Failed: it ended with another code than 0.
    """
    finished = run(command, **environment)
    if finished.code != 0:
        raise Failed(shown(command))
    return finished


def quietly(command, log):
    """Runs a command whose output is only seen where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        code = subprocess.run(
            [str(word) for word in command], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
        ).returncode
    if code != 0:
        print(log.read_text(), flush=True)
        raise Failed(shown(command))
