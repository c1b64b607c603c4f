"""Where ranks run: on this host, or in the lab's network namespaces behind limited links."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cpdperf.sweep.matrix import Place
from cpdperf.sweep.processes import run_together


class NetworkError(Exception):
    """Ranks cannot be started in this network; the message says why."""


@dataclass(frozen=True)
class Program:
    """What each rank runs."""

    command: list[str]
    under_mpi: bool  # started by mpirun; else one process each, with RANK and WORLD_SIZE
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
        if program.under_mpi:
            commands = [([*self._mpirun(), *program.command], environment)]
        else:
            commands = self._one_by_one(program, environment)
        return run_together(commands, output, limit)

    def _mpirun(self) -> list[str]:
        as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        if self.ranks <= len(self.cores):
            # Two ranks on one core with two threads is no error.
            placing = ["--bind-to", "core:overload-allowed"]
        else:
            placing = ["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
        return ["mpirun", *as_root, "--oversubscribe", *placing, "-n", str(self.ranks)]

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def open_network(place: Place) -> Iterator[Network]:
    """The network of a place, taken down at the end."""
    if place.rate_mbit is None:
        yield Host(place.ranks)
        return
    raise NetworkError("the lab is not there yet")


def require(places: tuple[Place, ...]) -> None:
    """Finds out before anything starts whether these networks can be made here."""
    if not shutil.which("mpirun"):
        raise NetworkError("mpirun is not installed: apt-get install openmpi-bin")
