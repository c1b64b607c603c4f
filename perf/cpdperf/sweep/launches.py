"""Runs one launch and says what came of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpdperf.sweep import tool as tools
from cpdperf.sweep.matrix import GLOO, MPICH, OPENMPI_NUMBERS
from cpdperf.sweep.network import Network, Program
from cpdperf.sweep.plan import Launch, Plan
from cpdperf.sweep.processes import TIMED_OUT

RESULT_SCHEMA = "cpd-allreduce-perf/1"
PERF = Path(__file__).resolve().parents[2]
GRADIENTS = PERF / "data" / "gradients.npy"
OUTPUT_KEPT = 2000  # characters of what a failed launch said, from its end
WRONG_RESULT = "a wrong result"


def program_of(launch: Launch, plan: Plan, tool: Path, result: Path) -> Program:
    """What to start for a launch, so that it writes JSON to `result`."""
    if launch.kind == GLOO:
        command = [sys.executable, "-m", "cpdperf.peers.gloo", "--input", source_of(plan)]
        environment = {"PYTHONPATH": str(PERF), "OMP_NUM_THREADS": "1"}
        return Program([*command, *seeded(launch, plan, result)], "each", environment)
    if launch.kind == MPICH:
        return Program([str(tools.beside(tool)), *amounts(launch, plan, result)], "mpich")
    shared = seeded(launch, plan, result)
    if launch.kind in OPENMPI_NUMBERS:
        only_mpi = ["--input", source_of(plan), "--baseline", "mpi", "--wire", "none"]
        chosen = forced(OPENMPI_NUMBERS[launch.kind])
        return Program([str(tool), *only_mpi, *shared], "openmpi", chosen)
    table = dict(plan.tuning).get(launch.place.network)
    environment = {"CPDCOMM_TUNING": table} if table else {}
    return Program([str(tool), *contenders(plan), *shared], "openmpi", environment)


def forced(number: int) -> dict[str, str]:
    """Variables that make Open MPI take an algorithm, whatever it would choose by itself."""
    return {
        "OMPI_MCA_coll_tuned_use_dynamic_rules": "1",
        "OMPI_MCA_coll_tuned_allreduce_algorithm": str(number),
    }


def amounts(launch: Launch, plan: Plan, result: Path) -> list[str]:
    """The options that all programs share."""
    sizes, effort = launch.place.sizes, plan.effort
    return [
        *("-b", str(sizes.first), "-e", str(sizes.last), "-f", str(sizes.factor)),
        *("-n", str(effort.iterations), "-w", "1", "-c", "1" if launch.checks else "0"),
        *("--time-limit", f"{effort.time_limit:g}", "-J", str(result)),
    ]


def seeded(launch: Launch, plan: Plan, result: Path) -> list[str]:
    """Those, for programs that sum random numbers."""
    return [*amounts(launch, plan, result), "--seed", str(plan.seed)]


def contenders(plan: Plan) -> list[str]:
    """Options of cpd-allreduce-perf for all that a plan compares."""
    asked = plan.contenders
    lists = {
        "--wire": asked.wires,
        "--algorithm": asked.algorithms,
        "--accumulate": asked.accumulate,
        "--scaling": asked.scaling,
        "--rounding": asked.rounding,
        "--result": asked.result,
    }
    words = [word for flag, names in lists.items() for word in (flag, ",".join(names))]
    return ["--input", source_of(plan), "--baseline", "mpi", *words]


def source_of(plan: Plan) -> str:
    """The input as all programs understand it."""
    return str(GRADIENTS) if plan.input == "gradients" else plan.input


def run_launch(
    launch: Launch, plan: Plan, tool: Path, network: Network, folder: Path, limit: float
) -> dict[str, Any]:
    """The record of a launch: its results, or why there are none."""
    result, output = folder / f".{launch.name}.result", folder / f".{launch.name}.output"
    result.unlink(missing_ok=True)
    program = program_of(launch, plan, tool, result)
    began = time.monotonic()
    try:
        code = network.run(program, output, limit)
        seconds = time.monotonic() - began
        reason, document = judge(code, result, limit)
        said = output.read_text(errors="replace")[-OUTPUT_KEPT:] if reason else ""
    finally:
        result.unlink(missing_ok=True)
        output.unlink(missing_ok=True)
    return record(launch, seconds, document, reason, said) | {"command": program.command}


def record(
    launch: Launch, seconds: float, result: object, reason: str | None, output: str
) -> dict[str, Any]:
    """A launch as its file has it; `result` is None where it failed."""
    return {
        "launch": launch.name,
        "seconds": seconds,
        "result": result,
        "reason": reason,
        "output": output,
    }


def judge(code: int, path: Path, limit: float) -> tuple[str | None, dict[str, Any] | None]:
    """Why a launch failed (None when it did not), and its results where they can be used."""
    if code == TIMED_OUT:
        return f"no end within {limit:.0f} s", None
    try:
        document = json.loads(path.read_text())
    except OSError:
        return f"exit code {code} and no results", None
    except ValueError as error:
        return f"exit code {code} and results that are not JSON: {error}", None
    if document.get("schema") != RESULT_SCHEMA:
        return f"results of schema {document.get('schema')}, not {RESULT_SCHEMA}", None
    if wrong_values(document):
        return WRONG_RESULT, document
    if code:
        return f"exit code {code}, and no wrong value in the results", None
    return None, document


def wrong_values(document: Mapping[str, Any]) -> list[str]:
    """One line for each contender and size with wrong values."""
    return [
        f"{row['wrong']} of {row['count']} values are wrong: {row['wire']} {row['algorithm']}"
        for row in document["results"]
        if row["wrong"]
    ]
