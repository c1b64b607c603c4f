"""The command `perf/lab`: what each of its commands does."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable

from cpdperf.lab import state
from cpdperf.lab.counters import Counters, as_table
from cpdperf.lab.errors import LabError
from cpdperf.lab.lab import Lab, take_down
from cpdperf.lab.options import NAME_VARIABLE, build_parser
from cpdperf.lab.processes import Program, run_together
from cpdperf.lab.rates import format_rate, parse_rate
from cpdperf.lab.signals import Interrupted, interruptible

USAGE_EXIT_CODE = 2


def main(arguments: list[str]) -> int:
    """Runs one perf/lab command and returns its exit code."""
    try:
        with interruptible():
            return _run(arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return USAGE_EXIT_CODE
    except Interrupted as interrupt:
        print(f"lab: ended by {interrupt}", file=sys.stderr)
        return interrupt.exit_code


def _run(arguments: list[str]) -> int:
    ours, theirs = _split(arguments)
    options, unknown = build_parser().parse_known_args(ours)
    if unknown:
        raise LabError(
            f"{options.subcommand} has no option or argument '{unknown[0]}'; "
            f"a program stands behind --; see perf/lab {options.subcommand} --help"
        )
    if theirs and options.subcommand not in TAKE_A_COMMAND:
        raise LabError(f"{options.subcommand} takes no command, '-- {' '.join(theirs)}' was given")
    return COMMANDS[options.subcommand](options, theirs)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first -- and behind it."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _up(options: argparse.Namespace, command: list[str]) -> int:
    Lab(options.hosts, parse_rate(options.rate), options.name, options.mtu).up()
    return 0


def _with(options: argparse.Namespace, command: list[str]) -> int:
    if not command:
        raise LabError("no command: perf/lab with 4 --rate 1gbit -- run -- PROGRAM ARGUMENTS")
    with Lab(options.hosts, parse_rate(options.rate), options.name, options.mtu) as lab:
        # For the command itself and every perf/lab that it calls.
        os.environ[NAME_VARIABLE] = lab.settings.name
        return _run(command)


def _down(options: argparse.Namespace, command: list[str]) -> int:
    take_down(options.name)
    return 0


def _rate(options: argparse.Namespace, command: list[str]) -> int:
    Lab.attach(options.name).set_rate(parse_rate(options.rate))
    return 0


def _status(options: argparse.Namespace, command: list[str]) -> int:
    others = [name for name in state.names() if name != options.name]
    if options.name in state.names():
        lab = Lab.attach(options.name)
        settings = lab.settings
        print(
            f"{settings.name}: {settings.hosts} hosts, rate {format_rate(settings.rate_mbit)}, "
            f"mtu {settings.mtu}, addresses {state.address(0)} and on"
        )
        print(as_table(lab.counters()))
    else:
        print(f"{options.name}: down")
    if others:
        print("other labs:", *others)
    return 0


def _run_ranks(options: argparse.Namespace, command: list[str]) -> int:
    lab = Lab.attach(options.name)
    return lab.run(
        command, options.ranks, options.per_host, options.launcher, options.pin, options.limit
    )


def _counters(options: argparse.Namespace, command: list[str]) -> int:
    lab = Lab.attach(options.name)
    if not command:
        _print_counters(lab.counters(), options.json)
        return 0
    os.environ[NAME_VARIABLE] = options.name
    with lab.counting() as counted:
        code = run_together([Program(command, dict(os.environ))])
    _print_counters(counted, options.json)
    return code


def _print_counters(counters: list[Counters], as_json: bool) -> None:
    if as_json:
        print(json.dumps([dataclasses.asdict(of_host) for of_host in counters]))
    else:
        print(as_table(counters))


def _exec(options: argparse.Namespace, command: list[str]) -> int:
    if not command:
        raise LabError("no command: perf/lab exec HOST -- COMMAND ARGUMENTS")
    lab = Lab.attach(options.name)
    words = [*lab.enter(options.host), *command]
    return run_together([Program(words, dict(os.environ))])


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "up": _up,
    "with": _with,
    "down": _down,
    "rate": _rate,
    "status": _status,
    "run": _run_ranks,
    "counters": _counters,
    "exec": _exec,
}
TAKE_A_COMMAND = ("with", "run", "counters", "exec")
