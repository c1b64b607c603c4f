"""dist_init: a process group from what a launcher left in the environment."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping

import torch
import torch.distributed as dist

from cpdcomm._launch import fill_in_address, launched_as
from cpdcomm.errors import UnsupportedError

from ._nodelist import expand

_FIRST_PORT = 12345  # CPD's
_PORTS = 20000  # stays below those that Linux gives out by itself
_NODE_LISTS = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
_RANKS_HERE = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_OWN_NUMBER_HERE = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")


def dist_init() -> tuple[int, int]:
    """Makes the default process group, with backend cpd for CPU tensors.

    Rank and size come from torchrun's RANK and WORLD_SIZE, else from Open MPI's, PMIx's or PMI's
    variables, else from srun's. MASTER_ADDR and MASTER_PORT stay where they are set; under mpirun
    and srun with MPI the ranks agree on them; else the address is this host, if all ranks are on
    it, or the first node of Slurm's node list, and the port follows from the job.

    Where torch has CUDA, each rank of a host takes a device of its own, and CUDA tensors go over
    NCCL.

    Returns:
        This rank, and the number of ranks.

    Raises:
        UnsupportedError, also a NotImplementedError: no launcher is seen, or no address.
        ValueError: a node list that cannot be read; the default group is there already.
    """
    with contextlib.suppress(UnsupportedError):  # without MPI by what the launcher says
        fill_in_address()
    os.environ.update(rendezvous(os.environ))
    backend = "cpd"
    if torch.cuda.is_available():
        torch.cuda.set_device(_number_on_host(os.environ) % torch.cuda.device_count())
        backend = "cpu:cpd,cuda:nccl"
    dist.init_process_group(backend)
    return dist.get_rank(), dist.get_world_size()


def rendezvous(environ: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as ``init_process_group`` reads them.

    Raises:
        UnsupportedError, ValueError: as :func:`dist_init`.
    """
    rank, size = _place(environ)
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": environ.get("MASTER_ADDR") or _address(environ, size),
        "MASTER_PORT": environ.get("MASTER_PORT") or str(_port(environ)),
    }


def _place(environ: Mapping[str, str]) -> tuple[int, int]:
    """Rank and size."""
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return int(environ["RANK"]), int(environ["WORLD_SIZE"])
    found = launched_as(environ) or _slurm_task(environ)
    if found is None:
        raise UnsupportedError(
            "dist_init sees no launcher: start the program with torchrun, mpirun or srun (inside "
            "a batch script, too), or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT"
        )
    return found


def _slurm_task(environ: Mapping[str, str]) -> tuple[int, int] | None:
    """Of srun without an MPI. A batch script has SLURM_PROCID, too, but is no task of a step."""
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    if not all(name in environ for name in names):
        return None
    return int(environ[names[0]]), int(environ[names[1]])


def _address(environ: Mapping[str, str], size: int) -> str:
    """Where rank 0 is: Slurm puts it on the first node of a step."""
    if size == 1 or any(environ.get(name) == str(size) for name in _RANKS_HERE):
        return "127.0.0.1"
    for name in _NODE_LISTS:
        if environ.get(name):
            return _reachable(expand(environ[name])[0])
    raise UnsupportedError(
        f"dist_init cannot tell which host rank 0 of {size} is on: none of "
        f"{', '.join(_NODE_LISTS)} is set; set MASTER_ADDR to that host"
    )


def _reachable(node: str) -> str:
    """The node's name; where that does not resolve, the address that it may end in.

    Sites without a name service for their nodes name them by address, as CPD's own does:
    site-10-5-30-7 is 10.5.30.7.
    """
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        numbers = re.search(r"(?:^|\D)(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})$", node)
        if numbers and all(int(number) < 256 for number in numbers.groups()):
            return ".".join(numbers.groups())
    return node


def _port(environ: Mapping[str, str]) -> int:
    """CPD's; of Slurm's steps, which may share a node, each its own."""
    job, step = (int(environ.get(name, 0)) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return _FIRST_PORT + (64 * job + step) % _PORTS


def _number_on_host(environ: Mapping[str, str]) -> int:
    """Which of this host's ranks this is; the rank itself where no launcher says it."""
    for name in (*_OWN_NUMBER_HERE, "RANK"):
        if name in environ:
            return int(environ[name])
    return 0
