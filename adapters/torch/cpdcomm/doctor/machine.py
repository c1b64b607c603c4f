"""What there is beside the transports: torch, cores, shared memory, variables."""

from __future__ import annotations

import os
import platform
import re
from typing import Any

import torch

from .problems import Problem

LAUNCHER = re.compile(
    r"(OMPI_COMM_WORLD|PMI|PMIX|TORCHELASTIC)_\w+|SLURM_(JOB_ID|PROCID|NTASKS|STEP_NUM_TASKS)"
    r"|(LOCAL_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
)
SHARED_MEMORY = "/dev/shm"
ENOUGH_SHARED_BYTES = 64 << 20  # 4 MiB for each of 16 ranks; containers often have less free


def describe() -> dict[str, Any]:
    """Facts about this machine, ready for JSON."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": _cuda(),
        "cores": len(os.sched_getaffinity(0)),
        "simd": _instruction_set(),
        "shared_memory": _shared_memory(),
        "launcher": _variables(LAUNCHER),
        "variables": _variables(re.compile(r"CPDCOMM_\w+")),
    }


def problems(machine: dict[str, Any]) -> list[Problem]:
    """What is wrong with these facts."""
    shared = machine["shared_memory"]
    if shared is None:
        return [Problem(f"there is no {SHARED_MEMORY} that can be written to", _DO_SHARED)]
    if shared["free_bytes"] < ENOUGH_SHARED_BYTES:
        free = f"{shared['free_bytes'] / 2**20:.0f} MiB are free in {SHARED_MEMORY}"
        return [Problem(f"only {free}: others than cpdcomm may run short of it", _DO_SHARED)]
    return []


_DO_SHARED = (
    f"mount {SHARED_MEMORY} larger (docker run --shm-size=1g): Open MPI takes 4 MiB of it for each "
    "rank and is slower without, and workers of torch's DataLoader fail; the memory that ranks of "
    "cpdcomm share does not lie there"
)


def problem_of_variables() -> Problem | None:
    """What the library finds wrong with the CPDCOMM_ variables; it warns of unknown names."""
    from .. import Options

    try:
        Options()
    except ValueError as error:
        return Problem(
            f"the CPDCOMM_ variables are refused: {error}",
            "unset the variable, or set it to what is allowed",
        )
    return None


def _instruction_set() -> str | None:
    """What the codecs use; None where the extension cannot be loaded."""
    try:
        from .. import _C
    except ImportError:
        return None
    return _C.instruction_sets()[0]


def _cuda() -> dict[str, Any] | None:
    if not torch.cuda.is_available():
        return None
    count = torch.cuda.device_count()
    devices = [torch.cuda.get_device_name(device) for device in range(count)]
    return {"version": torch.version.cuda, "devices": devices}


def _shared_memory() -> dict[str, int] | None:
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    if not os.access(SHARED_MEMORY, os.W_OK):
        return None
    return {
        "bytes": status.f_frsize * status.f_blocks,
        "free_bytes": status.f_frsize * status.f_bavail,
    }


def _variables(names: re.Pattern[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in sorted(os.environ) if names.fullmatch(name)}
