"""Two processes sum numbers over a transport: whether that works, by a deadline."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .problems import Problem, failed_check
from .processes import Program, run_together
from .transports import NAMES, Transport

RANKS = 2
LARGEST_ERROR = 0.1  # of the sum's norm; e4m3 is at 0.04
_LINES = 8  # of what the processes said, in a problem
_HOSTS = re.compile(
    r"cpdcomm: 2 ranks on (?P<hosts>\d) hosts(; not all share memory: (?P<reason>.*))?"
)
_TELLING = re.compile(r"error|warn|cannot|denied", re.IGNORECASE)
# What launchers leave to their processes, and what may not go together with the check's own sum.
_FOREIGN = re.compile(
    r"(OMPI_(?!MCA_)|PMIX_|PMI_|SLURM_|HYDRA_|TORCHELASTIC_|CPDCOMM_)\w+"
    r"|((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
)


@dataclass(frozen=True)
class Outcome:
    """How a check ended: `problem` is None where it works; then the rest is known.

    Attributes:
        seconds: of the sum, on the slower rank.
        relative_error: distance of the sum from FP32's, relative to its norm.
        wire_bytes, logical_bytes: sent by a rank, and as FP32.
        shares_memory: whether the two sent through shared memory.
        not_shared: why they did not, where that is known.
    """

    problem: Problem | None = None
    seconds: float | None = None
    relative_error: float | None = None
    wire_bytes: int | None = None
    logical_bytes: int | None = None
    shares_memory: bool | None = None
    not_shared: str = ""


def run(transport: Transport, deadline: float, shared_memory: bool) -> Outcome:
    """Runs the check of a transport that can be loaded; ends after `deadline` seconds at most.

    Args:
        shared_memory: whether the processes may share memory, as ranks of one host do; UCX is
            then not used at all.
    """
    with tempfile.TemporaryDirectory(prefix="cpdcomm-doctor-") as name:
        folder = Path(name)
        codes, said = run_together(_programs(transport, folder, deadline, shared_memory), deadline)
        if any(codes):
            return Outcome(_failure(transport, said))
        if None in codes:
            return Outcome(_hang(transport, deadline, said))
        found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]
    return _judge(transport, found, said)


def _judge(transport: Transport, found: list[dict], said: str) -> Outcome:
    if len({one["sha256"] for one in found}) > 1:
        return Outcome(_wrong(transport, "the processes got different bits for the same sum"))
    error = max(one["relative_error"] for one in found)
    if not error < LARGEST_ERROR:
        return Outcome(_wrong(transport, f"the sum is wrong: its relative error is {error:.3g}"))
    seconds = max(one["seconds"] for one in found)
    sent = found[0]["wire_bytes"], found[0]["logical_bytes"]
    return Outcome(None, seconds, error, *sent, *_sharing(said))


def problem_of_sharing(outcome: Outcome | None) -> Problem | None:
    """What is wrong where two processes of this machine should have shared memory."""
    if outcome is None or outcome.shares_memory in (None, True):
        return outcome and outcome.problem
    why = outcome.not_shared or "neither sees the other's"
    return Problem(
        f"two processes of this machine share no memory: {why}",
        "ranks of one host talk over MPI or UCX alone, which is slower, until processes of one "
        "user may open each other's /proc/PID/fd, or their /dev/shm has room for 16 bytes each; "
        "CPDCOMM_SHARED_MEMORY=off makes it a choice",
    )


def _sharing(said: str) -> tuple[bool | None, str]:
    """What rank 0 said of it: whether memory is shared, and why not."""
    hosts = _HOSTS.search(said)
    if hosts is None:
        return None, ""
    reason = hosts["reason"] or ""
    return hosts["hosts"] == "1" and not reason, reason


def _programs(
    transport: Transport, folder: Path, deadline: float, shared_memory: bool
) -> list[Program]:
    """What to start: mpirun, or the two ranks."""
    # The ranks give up first, and say why.
    rank = [sys.executable, "-m", "cpdcomm.doctor.rank", str(folder), str(deadline / 2)]
    environment = _own_environment() | {
        "CPDCOMM_TRANSPORT": transport.name,
        "CPDCOMM_SHARED_MEMORY": "on" if shared_memory else "off",
        "CPDCOMM_DEBUG": "info",
        "OMP_NUM_THREADS": "1",
    }
    if transport.launcher is not None:
        return [Program([transport.launcher, *_launcher_options(transport), *rank], environment)]
    size = {"WORLD_SIZE": str(RANKS)}
    return [Program(rank, environment | size | {"RANK": str(n)}) for n in range(RANKS)]


def _launcher_options(transport: Transport) -> list[str]:
    ranks = ["-n", str(RANKS)]
    if not str(transport.library).startswith("Open MPI"):
        return ranks
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    shared = ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    return [*as_root, *shared, *ranks]


def _own_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    if "OMPI_COMM_WORLD_RANK" in os.environ:  # inside mpirun these are its own, too
        kept = {name: value for name, value in kept.items() if not name.startswith("OMPI_MCA_")}
    return kept


def _hang(transport: Transport, deadline: float, said: str) -> Problem:
    return Problem(
        f"over {NAMES[transport.name]} two processes did not end within {deadline:g} s; "
        f"they said: {_last_lines(said)}",
        "look for a firewall on the loopback interface; on a very slow machine --deadline gives "
        f"more time; {failed_check(transport.name, said)}",
    )


def _failure(transport: Transport, said: str) -> Problem:
    return Problem(
        f"over {NAMES[transport.name]} two processes failed; they said: {_last_lines(said)}",
        failed_check(transport.name, said),
    )


def _wrong(transport: Transport, what: str) -> Problem:
    return Problem(
        f"over {NAMES[transport.name]} {what}",
        "this must not happen: report it with the output of python -m cpdcomm.doctor --json",
    )


def _last_lines(said: str) -> str:
    """The lines that tell of something, or all; places that a traceback names are for others."""
    noise = (" ", "Traceback")
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(noise)]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return "".join(f"\n    {line}" for line in telling[-_LINES:]) or "nothing"
