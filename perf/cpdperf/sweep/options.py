"""The options of perf/sweep, and the plan that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cpdperf.sweep import matrix, plans
from cpdperf.sweep.matrix import Contenders, Effort
from cpdperf.sweep.network import usable_cores
from cpdperf.sweep.plan import Plan
from cpdperf.sweep.sizes import SizeRange

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
  perf/sweep --baselines openmpi-1,openmpi-4,mpich,gloo --ranks 4
  perf/sweep summarize runs/full --out so-far.json     what is there by now

plans with names, each with a --help of its own:
  perf/sweep targets              what 2, 4 and 8 bits gain over every FP32 there is
  perf/sweep never-slower         where `automatic` is slower than MPI's own all-reduce

Start it on a quiet machine: other work costs a rank that sleeps milliseconds for each message.
Variables OMPI_MCA_* and CPDCOMM_* reach the programs; they belong to the settings of a run.

exit codes: 0 all is right, 1 a wrong result, 2 bad usage or another error, 3 a launch failed (the
others are in sweep.json), 128 + signal when interrupted: 130 after Ctrl-C
"""


PLANS = {
    plans.TARGETS: """\
Measures what 2, 4 and 8 bits on the wire gain over every FP32 there is: Open MPI's default and its
six algorithms, MPICH, gloo, and this library's own; 64 MiB and 4 MiB on 4 ranks at 1 Gbit/s, 10
Gbit/s and on one host, 64 MiB on 3 and 8 ranks at 1 Gbit/s; 20 iterations in each of 5 launches,
which take turns. At the end a table says which targets are met, with bootstrap intervals, and what
part of the bound of its own bytes each reaches.
""",
    plans.NEVER_SLOWER: """\
Measures `automatic` (fp32 and e4m3 on the wire, wide) beside MPI_Allreduce in one launch, where
they take turns call by call: 1 KiB to 256 MiB in steps of 4, on 2, 3, 4 and 8 ranks, on one host
and at 1 and 10 Gbit/s. A cell is broken where `automatic` is more than 3 percent and more than 5 us
slower, both by the 95 percent interval over launches; open where the interval does not tell.
""",
}
PLAN_EPILOG = """\
examples:
  perf/sweep targets --dry-run
  perf/sweep targets --run-dir runs/targets --group 8192
  perf/sweep never-slower --time-budget 120 --tuning host=host.json,1gbit=1g.json,10gbit=10g.json
  perf/sweep never-slower --networks host --ranks 2 --sizes 1K:64K --launches 3
  perf/plot targets runs/targets/sweep.json
  perf/plot never-slower runs/never-slower/sweep.json

The same command with the same --run-dir goes on where it was stopped. Use a quiet machine.
cpd-tune writes the tables for --tuning: perf/lab with N --rate R -- run -- cpd-tune ... in the lab.
"""


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


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
    return () if text == "none" else some_of([*matrix.ALL_BASELINES, "none"])(text)


def tables(text: str) -> tuple[tuple[str, str], ...]:
    """host=FILE,1gbit=FILE"""
    found = []
    for entry in names(text):
        network, _, path = entry.partition("=")
        if network not in matrix.NETWORKS:
            known = ", ".join(matrix.NETWORKS)
            raise ValueError(f"'{entry}': NETWORK=FILE, with a network of {known}")
        if not Path(path).is_file():
            raise ValueError(f"'{entry}': {path or 'nothing'} is not a file")
        found.append((network, str(Path(path).resolve())))
    return tuple(found)


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
        "--accumulate": "wide, rounded, kahan, exact, majority (wide)",
        "--result": "of exact: full, wire (full)",
        "--scaling": "automatic, none, aps, aps:N (automatic)",
        "--rounding": "nearest_even, stochastic (nearest_even)",
    }
    for flag, text in lists.items():
        add(flag, type=argument(names), metavar="NAMES", help=text)
    add(
        "--baselines",
        type=argument(baselines),
        metavar="NAMES",
        help="beside Open MPI's default: openmpi-ring, gloo, openmpi-1 to openmpi-6 (its algorithms"
        " by their numbers), mpich; or none (openmpi-ring,gloo)",
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
        "--time-budget",
        type=number,
        metavar="MIN",
        help="instead of --time-limit: that with which all takes about so many minutes",
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
    add_tables(parser)
    add_effort(parser)
    add_folders(parser)
    return parser.parse_args(argv)


def add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tuning",
        type=argument(tables),
        default=(),
        metavar="NETWORK=FILE,...",
        help="tables of cpd-tune that `automatic` goes by in these networks",
    )


def parse_plan(argv: Sequence[str]) -> argparse.Namespace:
    """Options of a plan with a name, which comes first."""
    name = argv[0]
    parser = argparse.ArgumentParser(
        prog=f"perf/sweep {name}",
        description=PLANS[name],
        epilog=PLAN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("what is measured (lists have commas)").add_argument
    networks = some_of(tuple(matrix.NETWORKS))
    add("--networks", type=argument(networks), help="only these of the plan's")
    add("--ranks", type=argument(rank_counts), help="only these of the plan's")
    add("--sizes", type=argument(SizeRange.parse), metavar="FIRST:LAST[:FACTOR]", help="others")
    if name == plans.TARGETS:
        add(
            "--group",
            type=argument(group),
            default=plans.GROUP,
            metavar="N",
            help="of aps:N (4096)",
        )
        add("--algorithms", type=argument(names), default=("direct", "ring"), help="(direct,ring)")
    add_tables(parser)
    add_effort(parser)
    add_folders(parser)
    parsed = parser.parse_args(argv[1:])
    parsed.plan = name
    return parsed


def group(text: str) -> int:
    if not text.isdigit() or int(text) == 0 or int(text) % 8:
        raise ValueError(f"'{text}': a multiple of 8 above 0")
    return int(text)


def named_plan_of(arguments: argparse.Namespace) -> Plan:
    if arguments.plan == plans.TARGETS:
        plan = plans.targets(arguments.group, arguments.algorithms)
    else:
        plan = plans.never_slower()
    effort = replaced(plan.effort, arguments)
    plan = replace(plan, effort=effort, tuning=arguments.tuning)
    try:
        plan = plans.narrowed(plan, arguments.networks, arguments.ranks, arguments.sizes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return budgeted(plan, arguments)


def budgeted(plan: Plan, arguments: argparse.Namespace) -> Plan:
    if arguments.time_budget is None:
        return plan
    if arguments.time_limit is not None:
        raise UsageError("--time-budget and --time-limit: one of them")
    try:
        return plans.within(plan, 60 * arguments.time_budget, len(usable_cores()))
    except ValueError as error:
        raise UsageError(f"--time-budget {error}") from None


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
    plan = Plan(
        tuple(places),
        replaced(lists, arguments),
        replaced(effort, arguments),
        input_of(arguments.input),
        arguments.seed,
        tuning=arguments.tuning,
    )
    return budgeted(plan, arguments)


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
