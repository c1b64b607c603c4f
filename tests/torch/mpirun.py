"""Starts Python files under mpirun or torchrun, and asks ranks that live on for checks of mpi/."""

import importlib
import os
import shutil
import sys

import pytest
import served
import warm
from processes import CHECKS, HERE, Finished, clean_environment, run

__all__ = ["CHECKS", "HERE", "Finished", "clean_environment", "run"]


def mpirun_command(ranks):
    """mpirun for more ranks than cores, which take turns."""
    mpirun = shutil.which("mpirun")
    assert mpirun, "mpirun is not installed"
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    flags = ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    return [mpirun, *as_root, *flags, "-n", str(ranks)]


def torchrun_command(ranks, python=sys.executable):
    """torchrun on this host alone."""
    return [
        python,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
    ]


def launch_command(launcher, ranks, script, python=sys.executable):
    """What starts a Python file on some ranks."""
    if launcher == "torchrun":
        return [*torchrun_command(ranks, python), script]
    return [*mpirun_command(ranks), python, script]


def launch(script, ranks, *arguments, timeout=300.0, launcher="mpirun", python=None, **environment):
    """Runs a file of mpi/ on some ranks, by default with a Python that has torch already."""
    command = launch_command(launcher, ranks, CHECKS / script, python or warm.python())
    return run([*command, *arguments], timeout, **environment)


# --- files of checks, see mpi/harness.py ----------------------------------------------------------


def kind_of(ranks, launcher, environment):
    """What launches have in common whose ranks can serve for each other."""
    return launcher, ranks, *sorted(environment.items())


def ranks_of(ranks, launcher="mpirun", **environment):
    """The ranks that live under a launcher; starts them where there are none."""

    def start():
        command = launch_command(launcher, ranks, CHECKS / "serve.py", warm.python())
        return command, ranks, clean_environment(**environment)

    return served.launch_of(kind_of(ranks, launcher, environment), start)


def passes(module, check, ranks, timeout=300.0, launcher="mpirun", **environment):
    """Asserts that a check of mpi/`module`.py passes, on ranks that live through many checks."""
    failures = ranks_of(ranks, launcher, **environment).failures(module, check, timeout)
    if failures:
        pytest.fail(f"{module}.{check} on {ranks} ranks\n{failures}", pytrace=False)


def ends(module, ranks, timeout=300.0, launcher="mpirun", **environment):
    """Asserts that the ranks that a module's checks have passed on end as a program should."""
    kind = kind_of(ranks, launcher, environment)
    if not served.launches_that_passed(module, kind):
        harness = importlib.import_module("harness")  # conftest.py knows where it is
        for check in harness.checks_of(importlib.import_module(module)):
            passes(module, check, ranks, timeout, launcher, **environment)
    for launch in served.launches_that_passed(module, kind):
        if launch.lives:
            launch.end()
        if launch.code != 0:
            pytest.fail(f"{module} ended with {launch.code}: {launch.said()}", pytrace=False)
