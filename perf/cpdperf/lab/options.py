"""The options of `perf/lab` and what they mean."""

import argparse
import os

from cpdperf.lab.launchers import LAUNCHERS
from cpdperf.lab.rates import ALLOWED
from cpdperf.lab.state import MOST_HOSTS

NAME_VARIABLE = "CPDLAB_NAME"

DESCRIPTION = """\
A network on one machine: N hosts behind a switch, each link limited to a rate both ways.

Each host is a network namespace with one interface, eth0 (10.77.0.1, 10.77.0.2, ...), a host name
and a /dev/shm of its own; the switch has a namespace, too. The machine's own network is not
touched, so several labs can be up at once, each with its --name. It needs root.
"""

EPILOG = """\
examples:
  perf/lab with 4 --rate 1gbit -- run -- cpd-allreduce-perf -b 1M -e 64M
                                        brings a lab up, runs 4 ranks, one on each host, takes it
                                        down; nothing is left, after Ctrl-C either
  perf/lab up 4 --rate 100mbit          a lab that stays until
  perf/lab down
  perf/lab run -n 3 -- ./program        3 ranks, one on each of the first 3 hosts
  perf/lab run --per-host 2 -- ./program            8 ranks, 2 on each host: these two share memory
  perf/lab run --launcher torchrun -- python train.py
  perf/lab rate 10gbit                  changes all links, also while something runs
  perf/lab counters -- perf/lab run -- ./program    bytes that each host sent and received in it
  perf/lab exec 0 -- ping -c 3 10.77.0.2
  OMPI_MCA_btl_tcp_eager_limit=262144 perf/lab run -- ./program     the environment is passed on

Above 5 Gbit/s with 4 ranks on 4 cores it is the cores that are measured, not the links. Latency is
that of the machine, some 20 us; it cannot be set.

exit codes: that of the program; 124 after --limit; 128 + signal if a signal ended it; 2 for an
error of usage and where the lab cannot do what is asked.
"""

RUN_EPILOG = """\
launchers:
  openmpi   mpirun.openmpi, MPI over TCP on eth0; shared memory inside a host of several ranks
  mpich     mpiexec.hydra, the same; the program must have been built with MPICH's compiler wrapper.
            Debian 12's (4.0.2 on UCX) can hang in MPI_Finalize over TCP after large messages, with
            or without a lab; a barrier and a pause before it, or --limit, help
  torchrun  python -m torch.distributed.run on each host, rank 0's host the meeting point
  each      starts the program on each host, with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
            MASTER_PORT and GLOO_SOCKET_IFNAME in its environment

examples:
  perf/lab run -- cpd-allreduce-perf -b 1K -e 64M
  perf/lab run -n 6 --per-host 2 --limit 60 -- ./program
  perf/lab run --launcher each -- python script.py
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perf/lab", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Raw
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_with(commands)
    _add(commands, "down", "ends all that runs in the lab and removes it")
    rate = _add(commands, "rate", "changes the rate of all links")
    rate.add_argument("rate", metavar="RATE", help=ALLOWED)
    _add(commands, "status", "says what is up, and what its hosts have sent and received")
    _add_run(commands)
    _add_counters(commands)
    _add_exec(commands)
    return parser


_Raw = argparse.RawDescriptionHelpFormatter
_DEFAULT_NAME = "cpdlab"


def _add(commands, name: str, summary: str, **more: str) -> argparse.ArgumentParser:
    """A command that takes the name of its lab."""
    parser = commands.add_parser(
        name, help=summary, description=f"perf/lab {name} {summary}.", formatter_class=_Raw, **more
    )
    parser.add_argument(
        "--name",
        default=os.environ.get(NAME_VARIABLE, _DEFAULT_NAME),
        help=f"of the lab (default: ${NAME_VARIABLE}, else {_DEFAULT_NAME})",
    )
    return parser


def _add_up(commands) -> None:
    _add_size(_add(commands, "up", "starts a lab, which stays until perf/lab down"))


def _add_with(commands) -> None:
    parser = _add(
        commands,
        "with",
        "starts a lab, runs one perf/lab command in it and removes it",
        usage="perf/lab with N [options] -- COMMAND ..., such as: with 4 -- run -- ./program",
    )
    parser.set_defaults(name=None)  # one of its own
    _add_size(parser)


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", type=int, metavar="N", help=f"hosts, 1 to {MOST_HOSTS}")
    parser.add_argument("--rate", default="none", help=f"of each link: {ALLOWED} (default: none)")
    parser.add_argument("--mtu", type=int, default=1500, help="of each link (default: 1500)")


def _add_run(commands) -> None:
    usage = "perf/lab run [options] -- PROGRAM [ARGUMENTS]"
    parser = _add(commands, "run", "runs ranks of a program", usage=usage, epilog=RUN_EPILOG)
    parser.add_argument(
        "-n", type=int, dest="ranks", metavar="RANKS", help="default: as many as fit on the hosts"
    )
    parser.add_argument(
        *("--per-host", "-k"),
        type=int,
        default=1,
        metavar="K",
        help="ranks on each host; the first hosts are filled first (default: 1)",
    )
    parser.add_argument("--launcher", choices=LAUNCHERS, default="openmpi", help="see below")
    parser.add_argument(
        "--pin",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="rank i runs on core i %% cores and no other (default: --pin)",
    )
    parser.add_argument(
        "--limit", type=float, metavar="SECONDS", help="end everything then (default: no limit)"
    )


def _add_counters(commands) -> None:
    parser = _add(
        commands,
        "counters",
        "prints what each host sent and received while COMMAND ran, or since perf/lab up",
        usage="perf/lab counters [options] [-- COMMAND [ARGUMENTS]]",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, a list of the hosts")


def _add_exec(commands) -> None:
    usage = "perf/lab exec [options] HOST -- COMMAND [ARGUMENTS]"
    parser = _add(commands, "exec", "runs a command on one host", usage=usage)
    parser.add_argument("host", type=int, metavar="HOST", help="its number, from 0")
