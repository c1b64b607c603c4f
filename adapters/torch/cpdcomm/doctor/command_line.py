"""``python -m cpdcomm.doctor``: what is looked at, in which order, and the exit code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from . import check, machine, report, transports
from .problems import Problem, not_loadable

DEADLINE = 60.0

DESCRIPTION = """\
Says what this machine has for cpdcomm, lets two processes sum numbers over each transport that is
there, and tells in plain words what is wrong and what to do about it.
"""

EPILOG = """\
examples:
  python -m cpdcomm.doctor                   some ten seconds; no launcher, nothing to set
  python -m cpdcomm.doctor --json            the same for programs
  srun -N 1 -n 1 python -m cpdcomm.doctor    on a node of a cluster

The two processes run on this machine, over MPI (started by mpirun) and over UCX (as torchrun would
start them, but without the shared memory that they would have). They sum 65,536 values in 8 bits
(e4m3) and must get the same bits. The CPDCOMM_ variables in force are shown and examined, but the
check does not use them.

exit codes: 0 at least one transport works, 1 none does or the variables are refused, 2 an error of
usage.
"""


def main(arguments: list[str], extension_error: str | None = None) -> int:
    """Runs the doctor and returns its exit code.

    Args:
        arguments: of the command line.
        extension_error: why the C++ module cannot be loaded; None where it is.
    """
    options = _parser().parse_args(arguments)
    if os.environ.get("RANK", "0") != "0":
        return 0  # one of several that a launcher started: the first one speaks
    findings = examine(options.deadline, extension_error)
    print(json.dumps(findings, indent=2) if options.json else report.text(findings))
    return 0 if findings["healthy"] else 1


def examine(deadline: float, extension_error: str | None) -> dict[str, Any]:
    """All that there is to know, ready for JSON."""
    facts = machine.describe()
    problems = machine.problems(facts)
    refused = None
    if extension_error is not None:
        what = f"cpdcomm's C++ module cannot be loaded: {extension_error}"
        problems.insert(0, Problem(what, not_loadable(extension_error)))
    else:
        refused = machine.problem_of_variables()
    if refused is not None:
        problems.append(refused)
    ways = {}
    outcomes = []
    for name in transports.NAMES:
        transport = transports.find(name)
        outcome = None
        if transport.problem is None and extension_error is None:
            outcome = check.run(transport, deadline, shared_memory=name == "mpi")
            outcomes.append((transport, outcome))
        ways[name] = _way(transport, outcome)
        problems += filter(None, [transport.problem, outcome and outcome.problem])
    sharing = _sharing(outcomes, deadline)
    problems += filter(None, [check.problem_of_sharing(sharing)])
    facts["shares_memory"] = sharing and sharing.shares_memory
    return {
        "healthy": refused is None and any(way["works"] for way in ways.values()),
        "version": _version() if extension_error is None else None,
        "folder": str(Path(__file__).parents[1]),
        "machine": facts,
        "transports": ways,
        "problems": [dataclasses.asdict(problem) for problem in problems],
    }


def _sharing(
    outcomes: list[tuple[transports.Transport, check.Outcome]], deadline: float
) -> check.Outcome | None:
    """A check in which two processes could share memory; None where no transport works."""
    working = {transport.name: (transport, outcome) for transport, outcome in outcomes}
    working = {name: pair for name, pair in working.items() if pair[1].problem is None}
    if "mpi" in working:
        return working["mpi"][1]
    if "ucx" in working:
        return check.run(working["ucx"][0], deadline, shared_memory=True)
    return None


def _way(transport: transports.Transport, outcome: check.Outcome | None) -> dict[str, Any]:
    """A transport, and what its check measured where it works."""
    tried = outcome is not None
    works = tried and outcome.problem is None
    way = dataclasses.asdict(transport) | {"tried": tried, "works": works, "check": None}
    del way["name"], way["problem"]
    if works:
        way["check"] = dataclasses.asdict(outcome)
        for name in ("problem", "shares_memory", "not_shared"):
            del way["check"][name]
    return way


def _version() -> str:
    from .. import __version__

    return __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cpdcomm.doctor",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--deadline",
        type=_seconds,
        default=DEADLINE,
        metavar="SECONDS",
        help=f"for the two processes of each transport (default: {DEADLINE:g})",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}': a number of seconds from 1 to 3600 is allowed")
    return seconds
