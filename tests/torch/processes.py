"""Processes that a test starts: in a clean environment, with a time limit, and nothing stays."""

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKS = HERE / "mpi"
# What a launcher sets, what would change the options in force, and which case is at hand.
FOREIGN = re.compile(
    r"(OMPI|PMIX|PMI|MPI|SLURM|HYDRA|CPDCOMM|TORCHELASTIC|PYTEST)_.*|RANK|WORLD_SIZE|LOCAL_RANK"
    r"|MASTER_(ADDR|PORT)"
)
GRACE = 10.0  # seconds that mpirun has to end its ranks


@dataclass(frozen=True)
class Finished:
    """A launch that ended by itself."""

    code: int
    output: str
    seconds: float


def clean_environment(**changes):
    """This process's environment without a launcher's variables, one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    path = os.pathsep.join([str(HERE), str(CHECKS)])
    # What `automatic` takes depends on a table of times; the references are those of `direct`.
    ours = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CPDCOMM_TUNING": str(HERE / "direct.json")}
    return kept | ours | changes


def run(command, timeout, **environment):
    """Runs a command to its end, or fails with its output when that does not come in time."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:  # a pipe would wait for orphans, too
        process = subprocess.Popen(
            [str(word) for word in command],
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
        output.seek(0)
        text = output.read()
    if code is None:
        pytest.fail(f"{command} did not end within {timeout} s; it said:\n{text}", pytrace=False)
    return Finished(code, text, time.monotonic() - start)


def end(process):
    """mpirun ends its ranks when it is asked politely."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
