"""The command `scripts/slurm/lab`: its options and what each of its commands does."""

import argparse
import sys

from cpdperf.lab.errors import LabError
from cpdperf.lab.signals import Interrupted, interruptible
from slurmlab import cluster

USAGE_EXIT_CODE = 2
DEFAULT_NAME = "slurm"

DESCRIPTION = """\
A real Slurm on one machine: a login node and a few nodes to compute on, without systemd.

Each node has a network, a host name and a /dev/shm of its own, and believes that it owns all cores
and most of the memory; files are shared. The machine's own network, its /etc and its services are
not touched. Needs root and Debian's slurm-wlm (scripts/setup --slurm installs it).
"""

EPILOG = """\
examples:
  scripts/slurm/lab start                         4 nodes, up in some seconds
  scripts/slurm/lab run -- sinfo -N
  scripts/slurm/lab run -- srun -N 4 hostname
  scripts/slurm/lab run -- srun -N 4 --mpi=pmix .venv/bin/python example.py
  scripts/slurm/lab run -- sbatch --wait scripts/slurm/train.sbatch --quick
  scripts/slurm/lab run -- squeue
  scripts/slurm/lab stop                          ends all jobs; nothing is left

While it runs, logs and configuration are in /run/cpdlab/NAME/slurm.

exit codes: that of the command; 124 after --limit; 128 + signal if a signal ended it; 2 for an
error of usage and where the lab cannot do what is asked.
"""

RUN_EPILOG = """\
The command runs on the login node, in the folder from which it is called and with its environment;
Slurm hands both on to the jobs. srun waits for ever where it asks for more than there is: --limit.

examples:
  scripts/slurm/lab run --limit 60 -- srun -N 4 --ntasks-per-node 2 hostname
  scripts/slurm/lab run -- scontrol show node
"""


def main(arguments: list[str]) -> int:
    """Runs one scripts/slurm/lab command and returns its exit code."""
    try:
        with interruptible():
            options, unknown = build_parser().parse_known_args(arguments)
            if unknown:
                raise LabError(
                    f"{options.subcommand} has no option or argument '{unknown[0]}'; a command "
                    f"stands behind --; see scripts/slurm/lab {options.subcommand} --help"
                )
            return _run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return USAGE_EXIT_CODE
    except Interrupted as interrupt:
        print(f"lab: ended by {interrupt}", file=sys.stderr)
        return interrupt.exit_code


def _run(options: argparse.Namespace) -> int:
    if options.subcommand == "run":
        return cluster.run(options.name, options.command, options.limit)
    if options.subcommand == "stop":
        cluster.stop(options.name)
        return 0
    nodes = cluster.start(options.name, options.nodes)
    print(f"Slurm is up: {', '.join(nodes)}. Try: scripts/slurm/lab run -- srun -N 1 hostname")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/slurm/lab", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Raw
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    start = _add(commands, "start", "starts a Slurm, which stays until scripts/slurm/lab stop")
    start.add_argument(
        "--nodes",
        type=int,
        default=4,
        metavar="N",
        help=f"1 to {cluster.MOST_NODES} (default: 4)",
    )
    _add(commands, "stop", "ends Slurm and all its jobs and removes it; silent where none runs")
    run = _add(
        commands,
        "run",
        "runs a command on the login node: srun, sbatch, sinfo, ...",
        usage="scripts/slurm/lab run [options] -- COMMAND [ARGUMENTS]",
        epilog=RUN_EPILOG,
    )
    run.add_argument(
        "--limit", type=float, metavar="SECONDS", help="end the command then (default: no limit)"
    )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="and its arguments, behind --")
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _add(commands, name: str, summary: str, **more: str) -> argparse.ArgumentParser:
    """A command that takes the name of its lab."""
    parser = commands.add_parser(
        name, help=summary, description=f"{summary}.", formatter_class=_Raw, **more
    )
    parser.add_argument(
        "--name",
        default=DEFAULT_NAME,
        help=f"of the lab; several may be up (default: {DEFAULT_NAME})",
    )
    return parser
