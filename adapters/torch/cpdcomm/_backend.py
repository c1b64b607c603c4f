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

from . import _C, _launch
from ._eager import outside_of_graphs
from ._options import Options

_ONE_SECONDS = 1800.0  # of a group of one, where nothing waits


def register() -> None:
    """Makes the name "cpd" known to torch.distributed."""
    dist.Backend.register_backend("cpd", _create, extended_api=True, devices=["cpu"])
    atexit.register(_at_exit)


def _create(group: Any, options: Options | None) -> _C.Backend:
    """Called by torch on every rank of a new group; ``group`` has its store, rank and size."""
    try:
        policy = _merged(options)
        network = _network(group)
    except Exception as error:
        # The others wait for this rank's entry: they are told instead of left alone.
        _C.refuse_group(group.store, group.group_rank, group.group_size, str(error))
        raise
    timeout = policy.timeout or group.timeout.total_seconds()
    tag = zlib.crc32(str(group.group_id).encode()) & 0x7FFF
    return _C.Backend(
        group.store,
        group.group_rank,
        group.group_size,
        tag,
        network,
        timeout,
        policy,
    )


def _network(group: Any) -> str:
    """All groups of a program go where the default one would."""
    if group.group_size == 1:
        return "none"
    is_default = not dist.is_initialized()
    return _launch.network(group.group_size if is_default else dist.get_world_size())


def _merged(options: Options | None) -> _C.Policy:
    if options is not None and not isinstance(options, Options):
        raise TypeError(
            f"backend cpd takes pg_options of type cpdcomm.Options, not {type(options).__name__}"
        )
    return (options or Options()).over_environment()


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
    # TORCH_DISTRIBUTED_DEBUG=DETAIL puts a backend of torch's around ours.
    backend = getattr(backend, "wrapped_pg", backend)
    if not isinstance(backend, _C.Backend):
        raise ValueError(
            f"the group's CPU backend is {backend.name()}; backend cpd is needed: "
            'init_process_group("cpd") or new_group(backend="cpd")'
        )
    return backend


def backend_of_one() -> _C.Backend:
    """A group of this process alone, for programs that have made none."""
    return _backend_of_one(os.getpid())  # a fork's is not its parent's


@functools.cache
def _backend_of_one(pid: int) -> _C.Backend:
    return _C.Backend(dist.HashStore(), 0, 1, 0, "none", _ONE_SECONDS, Options().over_environment())


@outside_of_graphs
def stats(group: dist.ProcessGroup | None = None) -> _C.Stats:
    """Totals of a group since it began: calls, wire_bytes and logical_bytes of its all-reduces.

    ``by_operation`` has the same for each kind of operation, and how many were ``compressed``: what
    travelled in a wire format, and what did not. ::

        >>> cpdcomm.stats().by_operation["all_reduce"]
        OperationStats(calls=12, compressed=12, wire_bytes=..., logical_bytes=...)
    """
    return backend_of(group).stats()


def _at_exit() -> None:
    """Ends MPI, or leaves it be where that would wait for peers that are in another place.

    In a fork only what it has made itself: the groups and the MPI of its parent are its parent's.
    """
    clean = not hasattr(sys, "last_type")
    _C.shutdown_all(clean)
    if _C.mpi_loaded():
        _C.mpi_shutdown(clean)
