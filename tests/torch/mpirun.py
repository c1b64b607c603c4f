"""Starts Python files under mpirun or torchrun, with a time limit, and reads what their checks
found."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gradients
import pytest

HERE = Path(__file__).parent
CHECKS = HERE / "mpi"
# What a launcher sets, and what would change the options in force.
FOREIGN = re.compile(
    r"(OMPI|PMIX|PMI|MPI|SLURM|HYDRA|CPDCOMM|TORCHELASTIC)_.*|RANK|WORLD_SIZE|LOCAL_RANK"
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


def mpirun_command(ranks):
    """mpirun for more ranks than cores, which take turns."""
    mpirun = shutil.which("mpirun")
    assert mpirun, "mpirun is not installed"
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    flags = ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    return [mpirun, *as_root, *flags, "-n", str(ranks)]


def torchrun_command(ranks):
    """torchrun on this host alone."""
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
    ]


def launch_command(launcher, ranks, script):
    """What starts a Python file on some ranks."""
    if launcher == "torchrun":
        return [*torchrun_command(ranks), script]
    return [*mpirun_command(ranks), sys.executable, script]


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
            _end(process)
        output.seek(0)
        text = output.read()
    if code is None:
        pytest.fail(f"{command} did not end within {timeout} s; it said:\n{text}", pytrace=False)
    return Finished(code, text, time.monotonic() - start)


def _end(process):
    """mpirun ends its ranks when it is asked politely."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def launch(script, ranks, *arguments, timeout=60.0, launcher="mpirun", **environment):
    """Runs a file of mpi/ on some ranks."""
    command = [*launch_command(launcher, ranks, CHECKS / script), *arguments]
    return run(command, timeout, **environment)


# --- files of checks, see mpi/harness.py ----------------------------------------------------------


@functools.cache
def _launch_checks(module, ranks, timeout, launcher, **environment):
    """One launch for all checks of a module: what each check found, and how the launch ended."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found")
        found.touch()
        inputs = Path(folder, "gradients.npz")
        gradients.save(inputs)
        try:
            end = launch(
                f"{module}.py",
                ranks,
                found,
                inputs,
                timeout=timeout,
                launcher=launcher,
                **environment,
            )
        except pytest.fail.Exception as hang:
            end = Finished(-1, str(hang), timeout)
        lines = [json.loads(line) for line in found.read_text().splitlines()]
    return {line["check"]: line["failures"] for line in lines}, end


def passes(module, check, ranks, timeout=120.0, launcher="mpirun", **environment):
    """Asserts that a check of mpi/`module`.py passed; all its checks share one launch."""
    found, end = _launch_checks(module, ranks, timeout, launcher, **environment)
    if check not in found:
        pytest.fail(
            f"{module}.{check} was not reached; {launcher} said:\n{end.output}", pytrace=False
        )
    failures = "\n".join(f"--- rank {rank}\n{text}" for rank, text in found[check].items())
    if failures:
        pytest.fail(f"{module}.{check} on {ranks} ranks\n{failures}", pytrace=False)


def ends(module, ranks, timeout=120.0, launcher="mpirun", **environment):
    """Asserts that the launch of a module's checks ended as a program should."""
    _, end = _launch_checks(module, ranks, timeout, launcher, **environment)
    if end.code != 0:
        pytest.fail(
            f"{module} ended with {end.code}; {launcher} said:\n{end.output}", pytrace=False
        )
