"""The command line of scripts/test."""

import argparse
import os
import time

from . import report
from .commands import BUILD, ROOT, Failed, must
from .results import StageResult
from .stages import QUICK, RUNNERS, Stage

ABOUT = """\
All tests and checks, as CI runs them. Installs what is missing (scripts/setup --tests), then runs
all stages or those named, in this order:

  lint     clang-format and ruff
  cpp      the C++ tests on what is installed, warnings as errors; with a CUDA compiler the numerics
           as device code, too; ranks as threads and as MPI processes; the installed package
  asan     the C++ tests under the address and undefined-behaviour sanitizers, with assertions
  tsan     the rooms that have threads (transport, collective) under the thread sanitizer
  fuzz     packed bytes and format names as a fuzzer makes them up, some seconds; clang++, libFuzzer
  python   the Python tests, many of them under mpirun; those of the benchmarks; as root some in a
           network of their own, and on a Slurm of theirs

A stage that fails does not end the run: all failures stand at its end, each with the command that
repeats it alone. Nothing is left behind but .venv and build/. ccache and mold are used where they
are there. The C++ tests of one room: ctest --preset dev -L ROOM (codec, collective, mpi, ...).
"""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=ABOUT, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="only these: " + ", ".join(RUNNERS)
    )
    parser.add_argument("-k", metavar="WORD", help="only cases whose name holds it")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="lint, smoke of each room, and the rooms and files that changed since main;\n"
        "two minutes where the build is warm",
    )
    parser.add_argument(
        "--times",
        action="store_true",
        help="say where the time went: stages, slowest compilations, cases and Python files",
    )
    parser.add_argument(
        "--long",
        action="store_true",
        help="fuzz for 2 minutes each; cpp also checks the casts over all 2^32 inputs and makes\n"
        "20,000 mixed collectives, on threads and on 4 MPI processes: many minutes",
    )
    arguments = parser.parse_args()
    for name in arguments.stages:
        if name not in RUNNERS:
            parser.error(f"unknown stage '{name}'; there are {', '.join(RUNNERS)}")
    if arguments.quick and (arguments.stages or arguments.long):
        parser.error("--quick goes without STAGE and without --long")
    return arguments


def say(what):
    print(f"\n\033[1m== {what} ({time.strftime('%H:%M:%S')})\033[0m", flush=True)


def set_up(stages):
    """Installs what the stages need; how long that took."""
    needs = ["--tests"]
    if "fuzz" in stages:
        needs.append("--fuzz")
    if "python" in stages and os.geteuid() == 0:  # only root can start a Slurm of its own
        needs.append("--slurm")
    return StageResult("setup", {"install": must(["scripts/setup", *needs]).seconds})


def main():
    arguments = parse()
    stages = arguments.stages or list(QUICK if arguments.quick else RUNNERS)
    stages = [name for name in RUNNERS if name in stages]
    BUILD.mkdir(exist_ok=True)
    os.chdir(ROOT)
    try:
        results = [set_up(stages)]
    except Failed as failed:
        print(f"setup failed: {failed.repeat}")
        return 1
    for name in stages:
        say(name)
        stage = Stage(name, arguments.k, arguments.long, arguments.quick)
        results.append(stage.run())
    return conclude(results, stages, arguments.times)


def conclude(results, stages, times):
    failed = [result.name for result in results if result.failures]
    say("Summary")
    report.print_cases(results)
    if times:
        report.print_times(results)
    report.print_failures(results)
    took = sum(result.total for result in results)
    verdict = f"Failed: {' '.join(failed)}" if failed else f"All passed: {' '.join(stages)}"
    say(f"{verdict}, {took / 60:.1f} minutes")
    return 1 if failed else 0
