"""The torch.distributed backend "cpd": how groups come to be and end."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import zlib
from typing import Any

import torch
import torch.distributed as dist

from . import _C
from ._options import Options
from .errors import UnsupportedError


def register() -> None:
    """Makes the name "cpd" known to torch.distributed."""
    dist.Backend.register_backend("cpd", _create, extended_api=True, devices=["cpu"])
    atexit.register(_at_exit, os.getpid())


def _create(group: Any, options: Options | None) -> _C.Backend:
    """Called by torch on every rank of a new group; ``group`` has its store, rank and size."""
    if group.group_size == 1:
        return _C.backend_of_one(_merged(options))
    try:
        merged = _merged(options)
        mine, world = str(_C.mpi_rank()), _C.mpi_size()
    except Exception as error:
        # The others wait for this rank's entry: they are told instead of left alone.
        group.store.set(f"cpdcomm/{group.group_rank}", f"error {error}")
        raise
    if world < group.group_size:
        mine = (
            f"error MPI connects {world} processes and the group has {group.group_size} ranks: "
            "start them with mpirun, or srun --mpi=pmix"
        )
    ranks = _exchange(group.store, group.group_rank, group.group_size, mine)
    tag = zlib.crc32(str(group.group_id).encode()) & 0x7FFF
    return _C.backend_over_mpi(ranks, tag, merged, group.timeout.total_seconds())


def _merged(options: Options | None) -> _C.AllreduceOptions:
    if options is not None and not isinstance(options, Options):
        raise TypeError(
            f"backend cpd takes pg_options of type cpdcomm.Options, not {type(options).__name__}"
        )
    return (options or Options()).over_environment()


def _exchange(store: Any, rank: int, size: int, mine: str) -> list[int]:
    """The MPI ranks of a group's members, over the group's store; one that failed says so."""
    store.set(f"cpdcomm/{rank}", mine)
    entries = [store.get(f"cpdcomm/{i}").decode() for i in range(size)]
    for peer, entry in enumerate(entries):
        if entry.startswith("error "):
            raise UnsupportedError(f"rank {peer} of the group: {entry.removeprefix('error ')}")
    return [int(entry) for entry in entries]


def backend_of(group: dist.ProcessGroup | None) -> _C.Backend:
    """The cpd backend of a group, None for the default group.

    Raises:
        ValueError: there is no such group, or its CPU backend is another one.
    """
    if not dist.is_initialized():
        raise ValueError('there is no process group: call init_process_group("cpd") first')
    group = group or dist.group.WORLD
    if not isinstance(group, dist.ProcessGroup):
        raise ValueError(f"{group!r} is no process group that this rank belongs to")
    backend = group._get_backend(torch.device("cpu"))
    if not isinstance(backend, _C.Backend):
        raise ValueError(
            f"the group's CPU backend is {backend.name()}; backend cpd is needed: "
            'init_process_group("cpd") or new_group(backend="cpd")'
        )
    return backend


@functools.cache
def backend_of_one() -> _C.Backend:
    """A group of this process alone, for programs that have made none."""
    return _C.backend_of_one(Options().over_environment())


def stats(group: dist.ProcessGroup | None = None) -> _C.Stats:
    """Totals of a group's all-reduces since it began: calls, wire_bytes, logical_bytes."""
    return backend_of(group).stats()


def _at_exit(pid: int) -> None:
    """Ends MPI, or leaves it be where that would wait for peers that are in another place."""
    if os.getpid() != pid:
        return  # a fork's copy: the groups are its parent's
    clean = not hasattr(sys, "last_type")
    _C.shutdown_all(clean)
    if _C.mpi_loaded():
        _C.mpi_shutdown(clean)
