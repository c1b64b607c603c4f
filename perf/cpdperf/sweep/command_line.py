"""What perf/sweep does, from its command line to its exit code."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cpdperf.lab import Interrupted, interruptible
from cpdperf.sweep import network, never_slower, plans, targets, tool
from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.folder import FolderError, RunFolder, write_whole
from cpdperf.sweep.launches import contenders
from cpdperf.sweep.matrix import MPICH
from cpdperf.sweep.options import (
    PLANS,
    UsageError,
    named_plan_of,
    parse_plan,
    parse_summarize,
    parse_sweep,
    plan_of,
)
from cpdperf.sweep.plan import Launch, Plan
from cpdperf.sweep.progress import Progress, format_duration
from cpdperf.sweep.run import OpenNetwork, Run
from cpdperf.sweep.summary import summarize

WRONG, USAGE, FAILED = 1, 2, 3
REPORTS = {plans.TARGETS: targets.report, plans.NEVER_SLOWER: never_slower.report}
QUIET_LOAD = 0.25  # of a core, on average, before a sweep starts


def main(argv: Sequence[str], open_network: OpenNetwork = network.open_network) -> int:
    """Runs the command; returns the exit code."""
    try:
        if argv[:1] == ["summarize"]:
            return summarize_command(parse_summarize(argv[1:]))
        with interruptible():
            if argv and argv[0] in PLANS:
                arguments = parse_plan(argv)
                return sweep_command(named_plan_of(arguments), arguments, argv, open_network)
            arguments = parse_sweep(argv)
            return sweep_command(plan_of(arguments), arguments, argv, open_network)
    except Interrupted as interrupt:
        return interrupt.exit_code
    except (UsageError, FolderError, network.NetworkError, tool.ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE


def settings_of(plan: Plan, program: Path) -> dict[str, object]:
    """All that must be equal when a run is continued."""
    foreign = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("OMPI_MCA_", "CPDCOMM_"))
    }
    return {
        **plan.settings(),
        "environment": foreign,
        "program": program.name,
        "program_build": tool.fingerprint(program),
        "tables": {network: tool.fingerprint(Path(path)) for network, path in plan.tuning},
    }


def sweep_command(
    plan: Plan, arguments: argparse.Namespace, argv: Sequence[str], open_network: OpenNetwork
) -> int:
    estimate = Estimate(plan, len(network.usable_cores()))
    if arguments.dry_run:
        show_plan(plan.launches(), estimate)
        return 0
    program = tool.find(arguments.program)
    path = arguments.run_dir or default_folder()
    out = arguments.out or path / "sweep.json"
    require_free(out, arguments.force)
    tool.probe(program, contenders(plan))
    if MPICH in plan.contenders.baselines:
        tool.require_mpich(program)
    if open_network is network.open_network:
        network.require(plan.places)
    folder = RunFolder.open(path, settings_of(plan, program), ["perf/sweep", *argv])
    with folder.locked():
        waiting = unfinished(plan, folder, estimate)
        progress = Progress(waiting, estimate, sys.stderr)
        run = Run(plan, folder, program, open_network, estimate, progress, arguments.launch_limit)
        go(run, waiting, command_to_go_on(argv, arguments, path))
        write_summary(folder, out)
    return verdict(run)


def unfinished(plan: Plan, folder: RunFolder, estimate: Estimate) -> list[Launch]:
    """The launches that are still to be run; the estimate learns from the others."""
    waiting = []
    for launch in plan.launches():
        if found := folder.finished(launch):
            estimate.learn(launch, found["seconds"])
        else:
            waiting.append(launch)
    return waiting


def go(run: Run, waiting: list[Launch], to_go_on: str) -> None:
    """Runs what is to be run; after an interrupt it says how to go on."""
    expected = format_duration(run.estimate.total(waiting))
    count = f"{len(waiting)} of {len(run.plan.launches())} launches"
    run.progress.say(f"{count}, about {expected}, into {run.folder.path}")
    warn_if_busy(run.progress)
    try:
        run.all(waiting)
    except Interrupted:
        run.progress.say(f"interrupted; go on with:\n  {to_go_on}")
        raise


def warn_if_busy(progress: Progress) -> None:
    load, cores = os.getloadavg()[0], len(network.usable_cores())
    if load > QUIET_LOAD * cores:
        progress.say(
            f"# warning: the load is {load:.1f} on {cores} cores; on a busy machine the scheduler"
            " decides, above all where ranks sleep between messages, as those of gloo do"
        )


def summarize_command(arguments: argparse.Namespace) -> int:
    out = arguments.out or arguments.run_dir / "sweep.json"
    require_free(out, arguments.force)
    write_summary(RunFolder.read(arguments.run_dir), out)
    return 0


def show_plan(launches: list[Launch], estimate: Estimate) -> None:
    for launch in launches:
        sizes = launch.place.sizes
        print(f"{launch.name:28} {str(sizes):12} {format_duration(estimate.seconds(launch)):>8}")
    print(f"# {len(launches)} launches, about {format_duration(estimate.total(launches))}")


def default_folder() -> Path:
    return Path("runs") / f"sweep-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def require_free(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise UsageError(f"{out} exists; --force overwrites it, --out names another file")
    if not out.parent.is_dir() and out.parent.exists():
        raise UsageError(f"{out}: {out.parent} is not a folder")


def write_summary(folder: RunFolder, out: Path) -> None:
    document = summarize(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, document)
    missing = len(document["left_out"])
    if report := REPORTS.get(document["settings"].get("plan")):
        print(report(document))
    print(f"{out}: {len(document['rows'])} rows, {missing} left out")


def command_to_go_on(argv: Sequence[str], arguments: argparse.Namespace, path: Path) -> str:
    named = [] if arguments.run_dir else ["--run-dir", str(path)]
    return shlex.join(["perf/sweep", *argv, *named])


def verdict(run: Run) -> int:
    """Says what went wrong, and returns the exit code."""
    if run.failed:
        print(f"{len(run.failed)} launches failed; the same command repeats them", file=sys.stderr)
    if run.wrong:
        print(f"WRONG RESULTS in {', '.join(run.wrong)}", file=sys.stderr)
        return WRONG
    return FAILED if run.failed else 0
