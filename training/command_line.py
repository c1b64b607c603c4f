"""The options of `python -m training.train` and what they mean."""

import argparse
import dataclasses
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from training import configurations
from training.recipe import CIFAR, DIGITS, Recipe

QUICK_EPOCHS = 4
QUICK_STEPS = 40

DESCRIPTION = """\
Trains one small network again and again, its gradients summed in different ways.

Run it from the root of the repository, on four ranks:

    mpirun -n 4 python -m training.train

Each rank stands for several nodes: it computes one gradient for each of its emulated nodes, and
cpdcomm sums the gradients of all nodes of all ranks in the wire format of the configuration.
Without --data-root the images are the digits of scikit-learn; nothing is downloaded.
"""

EPILOG = """\
examples:
  mpirun -n 4 python -m training.train                    all configurations, 3 minutes on 4 cores
  mpirun -n 4 python -m training.train --quick            a first look, seconds
  mpirun -n 4 python -m training.train --configs fp32 e5m2-none e5m2-aps --seeds 5
  mpirun -n 4 python -m training.train --few-bits --seeds 5
  mpirun -n 4 python -m training.train --data-root cifar-10-batches-bin --configs fp32 e4m3-aps \\
      --train-limit 10000 --epochs 5 --seeds 1
  python -m training.train --nodes 32                     one process stands for all nodes

On CIFAR-10 each of the 11 x 3 runs takes 2 to 4 minutes on 4 cores: choose some with --configs and
--seeds, or train less with --train-limit, --epochs or --max-steps.

More ranks than cores: mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n 4 ...
As root: mpirun --allow-run-as-root ...

written to the output folder:
  log.jsonl    what was run, one record an epoch, one a run, and the table
  table.md     the table
  curves.png   the curves; `python -m training.figure FOLDER` draws them again
"""


def is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"


def parse() -> argparse.Namespace:
    """Help and complaints come from rank 0 alone; the others leave in silence."""
    if is_first_rank():
        return _parser().parse_args()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            return _parser().parse_args()
        except SystemExit:
            sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--configs",
        nargs="+",
        metavar="NAME",
        help="how gradients are summed, e.g. fp32 e4m3-aps (default: all that --list shows)",
    )
    what.add_argument(
        "--few-bits",
        action="store_true",
        help="sums of 4, 2 and 1 bits with error feedback and majority votes, beside FP32; --list"
        " names them",
    )
    what.add_argument("--list", action="store_true", help="print the configurations and stop")
    what.add_argument(
        "--seeds",
        type=_positive,
        metavar="N",
        help="train each configuration N times, from different parameters and in a different"
        " order of the images; the table shows mean and spread (default: 3)",
    )
    what.add_argument(
        "--quick",
        action="store_true",
        help=f"only {' and '.join(configurations.QUICK)}, one seed, {QUICK_EPOCHS} epochs,"
        f" at most {QUICK_STEPS} steps; other options still count",
    )
    where = parser.add_argument_group("data and output")
    where.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="train on CIFAR-10 from this folder: data_batch_*.bin, test_batch.bin,"
        " batches.meta.txt, the official binary version (default: digits)",
    )
    where.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="output folder (default: runs/digits or runs/cifar-10, or the next free number)",
    )
    where.add_argument(
        "--force", action="store_true", help="write to --out even if it is not empty"
    )
    how = parser.add_argument_group("training, the same for all configurations")
    how.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help=f"passes over the training images {_defaults('epochs')}",
    )
    how.add_argument(
        "--nodes",
        type=_positive,
        metavar="N",
        help=f"emulated nodes on each rank {_defaults('nodes')}",
    )
    how.add_argument(
        "--micro-batch",
        type=_positive,
        metavar="N",
        help="images of one node in a step; a step takes ranks x nodes x micro-batch images"
        f" {_defaults('micro_batch')}",
    )
    how.add_argument(
        "--lr",
        type=float,
        metavar="X",
        help=f"highest learning rate; it warms up to it and falls to zero {_defaults('lr')}",
    )
    how.add_argument(
        "--vote-lr",
        type=float,
        metavar="X",
        help="the same for -majority, where every parameter moves by it at every step (signSGD,"
        f" without momentum) {_defaults('vote_lr')}",
    )
    how.add_argument(
        "--train-limit", type=_positive, metavar="N", help="use the first N training images only"
    )
    how.add_argument(
        "--max-steps", type=_positive, metavar="N", help="end each run after N steps, to try it out"
    )
    return parser


def recipe(arguments: argparse.Namespace) -> Recipe:
    """The data set's recipe with what the command line changes."""
    chosen = DIGITS if arguments.data_root is None else CIFAR
    if arguments.quick:
        chosen = dataclasses.replace(chosen, epochs=QUICK_EPOCHS, max_steps=QUICK_STEPS)
    asked = {
        field: getattr(arguments, field)
        for field in ("epochs", "nodes", "micro_batch", "lr", "vote_lr", "max_steps")
        if getattr(arguments, field) is not None
    }
    return dataclasses.replace(chosen, **asked)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def _defaults(field: str) -> str:
    """What both recipes say, for the help text."""
    digits, cifar = getattr(DIGITS, field), getattr(CIFAR, field)
    return f"(default: {digits})" if digits == cifar else f"(digits: {digits}, CIFAR-10: {cifar})"
