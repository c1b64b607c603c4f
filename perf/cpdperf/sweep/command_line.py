"""The command line of perf/sweep."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cpdperf.lab import Interrupted, interruptible
from cpdperf.sweep import matrix, network, tool
from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.folder import FolderError, RunFolder, write_whole
from cpdperf.sweep.launches import contenders
from cpdperf.sweep.matrix import Contenders, Effort
from cpdperf.sweep.plan import Launch, Plan
from cpdperf.sweep.progress import Progress, format_duration
from cpdperf.sweep.run import OpenNetwork, Run
from cpdperf.sweep.sizes import SizeRange
from cpdperf.sweep.summary import summarize

DESCRIPTION = """\
Measures all-reduces over the matrix of networks, ranks, sizes, wire formats and algorithms, beside
Open MPI (its default and its ring) and torch's gloo (FP32 and BF16), and writes sweep.json for
perf/plot. Networks with a rate are made by perf/lab and need root.
"""

EPILOG = """\
Without --networks, --ranks and --full a part of the matrix is measured that ends within 40 minutes
on 4 cores: all networks with 4 ranks, and 2, 3 and 8 ranks at 1 Gbit/s; 100 Mbit/s up to 4 MiB.

A launch is one start of a program in one network. In each place all kinds take turns: launch 0 of
all, then launch 1 of all. Each finished launch is a file in the run folder; the same command with
the same --run-dir goes on where it was stopped, and repeats what failed. The sums of the first
launch of each kind are checked.

examples:
  perf/sweep --dry-run                           what the default would run, and for how long
  perf/sweep                                     within 40 minutes, into runs/sweep-<date>
  perf/sweep --full --run-dir runs/full          everything; many hours
  perf/sweep --networks 1gbit,host --ranks 4 --sizes 1M:64M --wires fp32,e4m3,mxfp4
  perf/sweep --networks 10gbit --sizes 16M --launches 5 --baselines none
  perf/sweep summarize runs/full --out so-far.json     what is there by now

Start it on a quiet machine: other work costs a rank that sleeps milliseconds for each message.
Variables OMPI_MCA_* and CPDCOMM_* reach the programs; they belong to the settings of a run.

exit codes: 0 all is right, 1 a wrong result, 2 bad usage or another error, 3 a launch failed (the
others are in sweep.json), 128 + signal when interrupted: 130 after Ctrl-C
"""

WRONG, USAGE, FAILED = 1, 2, 3
QUIET_LOAD = 0.25  # of a core, on average, before a sweep starts


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


def main(argv: Sequence[str], open_network: OpenNetwork = network.open_network) -> int:
    """Runs the command; returns the exit code."""
    try:
        if argv[:1] == ["summarize"]:
            return summarize_command(parse_summarize(argv[1:]))
        with interruptible():
            return sweep_command(parse_sweep(argv), list(argv), open_network)
    except Interrupted as interrupt:
        return interrupt.exit_code
    except (UsageError, FolderError, network.NetworkError, tool.ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE


# --- what was asked for ---------------------------------------------------------------------------


def argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """A parser for argparse, which shows the messages of ArgumentTypeError alone."""

    def parsed(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def names(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(text.split(",")))
    if "" in found:
        raise ValueError(f"'{text}': names with commas between them")
    return found


def some_of(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        found = names(text)
        for name in found:
            if name not in allowed:
                raise ValueError(f"'{name}': allowed are {', '.join(allowed)}")
        return found

    return parse


def baselines(text: str) -> tuple[str, ...]:
    return () if text == "none" else some_of([*matrix.BASELINES, "none"])(text)


def rank_counts(text: str) -> tuple[int, ...]:
    found = names(text)
    for count in found:
        if not count.isdigit() or not 2 <= int(count) <= 64:
            raise ValueError(f"'{count}' ranks: numbers from 2 to 64")
    return tuple(map(int, found))


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < 1e9:
            what = "whole number" if kind is int else "number"
            raise ValueError(f"'{text}': a {what} above 0")
        return number

    return parse


def add_matrix(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is measured (lists have commas)").add_argument
    networks = some_of(tuple(matrix.NETWORKS))
    add("--full", action="store_true", help="the whole matrix, 60 s for each size of a launch")
    add("--networks", type=argument(networks), help=", ".join(matrix.NETWORKS))
    add("--ranks", type=argument(rank_counts), help="2,3,4,8 or others")
    add(
        "--sizes",
        type=argument(SizeRange.parse),
        metavar="FIRST:LAST[:FACTOR]",
        help="logical bytes, each size FACTOR (4) times the one before (1K:64M); or one size",
    )
    lists = {
        "--wires": "formats; gains are against the fastest FP32, of any library"
        f" ({','.join(matrix.DEFAULT_WIRES)})",
        "--algorithms": "(direct,ring)",
        "--accumulate": "wide, rounded, kahan (wide)",
        "--scaling": "automatic, none, aps, aps:N (automatic)",
        "--rounding": "nearest_even, stochastic (nearest_even)",
    }
    for flag, text in lists.items():
        add(flag, type=argument(names), metavar="NAMES", help=text)
    add(
        "--baselines",
        type=argument(baselines),
        metavar="NAMES",
        help="beside Open MPI's default: openmpi-ring, gloo; or none (openmpi-ring,gloo)",
    )
    add("--input", default="random", help="random, gradients or FILE.npy (random)")
    add("--seed", type=int, default=1, help="of random input and stochastic rounding (1)")


def add_effort(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how often").add_argument
    whole, number = argument(positive(int)), argument(positive(float))
    add("--launches", type=whole, metavar="N", help="of each kind in each place (3)")
    add("--iterations", type=whole, metavar="N", help="of each contender in a launch (20)")
    add(
        "--time-limit",
        type=number,
        metavar="S",
        help="about so many seconds for each size of a launch: fewer iterations, at least 3 (8)",
    )
    add(
        "--launch-limit",
        type=number,
        metavar="S",
        help="a launch that takes longer has failed (a minute and 5 times the estimate)",
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("where").add_argument
    add("--program", metavar="PATH", help="cpd-allreduce-perf (the installed or built one)")
    add("--run-dir", type=Path, help="new, or of a run to go on with (runs/sweep-<date>)")
    add("--out", type=Path, metavar="FILE", help="the result (sweep.json in the run folder)")
    add("--force", action="store_true", help="overwrite the result, not the run folder")
    add("--dry-run", action="store_true", help="print the launches and their estimated time")


def parse_sweep(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perf/sweep",
        usage="perf/sweep [options] | perf/sweep summarize RUN_DIR [--out FILE] [--force]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_matrix(parser)
    add_effort(parser)
    add_folders(parser)
    return parser.parse_args(argv)


def parse_summarize(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perf/sweep summarize",
        description="Writes the sweep.json of a run folder, finished or not.",
    )
    parser.add_argument("run_dir", type=Path, help="what --run-dir named")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(sweep.json in the run folder)")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    return parser.parse_args(argv)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan for what was said; the rest has the values of the default or of --full."""
    full = arguments.full
    places = matrix.places_of(arguments.networks, arguments.ranks, arguments.sizes, full)
    lists = Contenders(matrix.FULL_WIRES if full else matrix.DEFAULT_WIRES)
    effort = matrix.FULL_EFFORT if full else Effort()
    return Plan(
        tuple(places),
        replaced(lists, arguments),
        replaced(effort, arguments),
        input_of(arguments.input),
        arguments.seed,
    )


def replaced(defaults: Contenders | Effort, arguments: argparse.Namespace):
    """The defaults with what was said in their places."""
    said = {
        name: getattr(arguments, name)
        for name in defaults.__dataclass_fields__
        if getattr(arguments, name) is not None
    }
    return type(defaults)(**{**vars(defaults), **said})


def input_of(name: str) -> str:
    """Files by their full path, because a run may be continued from another folder."""
    if name in ("random", "gradients"):
        return name
    if not Path(name).is_file():
        raise UsageError(f"--input {name}: random, gradients or a .npy file that exists")
    return str(Path(name).resolve())


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
    }


# --- the commands ---------------------------------------------------------------------------------


def sweep_command(arguments: argparse.Namespace, argv: list[str], open_network: OpenNetwork) -> int:
    plan = plan_of(arguments)
    estimate = Estimate(plan, len(network.usable_cores()))
    if arguments.dry_run:
        show_plan(plan.launches(), estimate)
        return 0
    program = tool.find(arguments.program)
    path = arguments.run_dir or default_folder()
    out = arguments.out or path / "sweep.json"
    require_free(out, arguments.force)
    tool.probe(program, contenders(plan))
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
    print(f"{out}: {len(document['rows'])} rows, {missing} left out")


def command_to_go_on(argv: list[str], arguments: argparse.Namespace, path: Path) -> str:
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
