"""Where ranks run: on this host, or in the lab's network namespaces behind limited links."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from cpdperf.lab import Lab, LabError
from cpdperf.sweep.matrix import Place
from cpdperf.sweep.processes import run_together

# The lab takes the standard output of programs, and here all that they say is wanted.
ERRORS_TO_OUTPUT = ("sh", "-c", 'exec "$@" 2>&1', "sh")


class NetworkError(Exception):
    """Ranks cannot be started in this network; the message says why."""


@dataclass(frozen=True)
class Program:
    """What each rank runs."""

    command: list[str]
    launcher: Literal["openmpi", "mpich", "each"]  # each: one process each, with RANK, WORLD_SIZE
    environment: dict[str, str] = field(default_factory=dict)


class Network(Protocol):
    def run(self, program: Program, output: Path, limit: float) -> int:
        """Runs a program on all ranks; its output goes to a file. Returns the exit code."""


def usable_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


class Host:
    """All ranks on this host, each on a core of its own while there are enough."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.cores = usable_cores()

    def run(self, program: Program, output: Path, limit: float) -> int:
        environment = os.environ | program.environment
        if program.launcher == "each":
            commands = self._one_by_one(program, environment)
        else:
            start = self._mpirun() if program.launcher == "openmpi" else self._hydra()
            commands = [([*start, *program.command], environment)]
        return run_together(commands, output, limit)

    def _mpirun(self) -> list[str]:
        as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        if self.ranks <= len(self.cores):
            # Two ranks on one core with two threads is no error.
            placing = ["--bind-to", "core:overload-allowed"]
        else:
            placing = ["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
        return [find_mpirun(), *as_root, "--oversubscribe", *placing, "-n", str(self.ranks)]

    def _hydra(self) -> list[str]:
        placing = "core" if self.ranks <= len(self.cores) else "none"
        return [find_hydra(), "-bind-to", placing, "-n", str(self.ranks)]

    def _one_by_one(
        self, program: Program, environment: Mapping[str, str]
    ) -> list[tuple[list[str], dict[str, str]]]:
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        group |= {"WORLD_SIZE": str(self.ranks), "GLOO_SOCKET_IFNAME": "lo"}
        return [
            (
                [*self._pin(rank), *program.command],
                {**environment, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(self.ranks)
        ]

    def _pin(self, rank: int) -> list[str]:
        if self.ranks > len(self.cores):
            return []
        return ["taskset", "--cpu-list", str(self.cores[rank])]


def find_mpirun() -> str:
    """Open MPI's, also where another MPI has taken the short name."""
    found = shutil.which("mpirun.openmpi") or shutil.which("mpirun")
    if found is None:
        raise NetworkError("mpirun is not installed: apt-get install openmpi-bin")
    return found


def find_hydra() -> str:
    """MPICH's launcher."""
    found = shutil.which("mpiexec.hydra")
    if found is None:
        raise NetworkError("mpiexec.hydra is not installed: apt-get install mpich")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LabNetwork:
    """A rank in each of the lab's hosts, on a core of its own while there are enough."""

    def __init__(self, lab: Lab, ranks: int) -> None:
        self.lab = lab
        self.ranks = ranks

    def run(self, program: Program, output: Path, limit: float) -> int:
        with open(output, "wb") as file:
            return self.lab.run(
                [*ERRORS_TO_OUTPUT, *program.command],
                ranks=self.ranks,
                launcher=program.launcher,
                limit=limit,
                environment=program.environment,
                output=file,
            )


@contextmanager
def open_network(place: Place) -> Iterator[Network]:
    """The network of a place, taken down at the end."""
    if place.rate_mbit is None:
        yield Host(place.ranks)
        return
    try:
        with Lab(hosts=place.ranks, rate_mbit=place.rate_mbit) as lab:
            yield LabNetwork(lab, place.ranks)
    except LabError as error:
        raise NetworkError(str(error)) from None


def require(places: Sequence[Place]) -> None:
    """Finds out before anything starts whether these networks can be made here."""
    find_mpirun()
    if all(place.rate_mbit is None for place in places):
        return
    try:
        with Lab(hosts=2):
            pass
    except LabError as error:
        raise NetworkError(f"{error}; --networks host needs no lab") from None
