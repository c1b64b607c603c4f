"""Captures gradients of a real model as input for cpd-allreduce-perf.

Trains the network of `training/` on the digits (or CIFAR-10) in one process for some steps, as so
many ranks would together, and keeps each rank's own gradient of the next step: float32, a row for
each rank, a column for each parameter in the model's order, ready for --input FILE.npy.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from training import batches, data, model
from training.recipe import CIFAR, DIGITS, Recipe, learning_rate

EPILOG = """\
A row is the gradient of the mean loss of one rank's images, before anything is summed, divided or
cast: what a rank gives to an all-reduce that averages. The same command gives the same file on the
same machine. Nothing is downloaded and nothing overwritten.

examples:
  perf/gradients                                     gradients.npy: 8 ranks after 50 steps, seconds
  perf/gradients --step 0 --ranks 4 --out first.npy  4 ranks, before the first update
  perf/gradients --data-root cifar-10-batches-bin --out cifar.npy
  mpirun -n 4 cpd-allreduce-perf --input gradients.npy --wire e4m3,e3m0
"""


class UsageError(Exception):
    """What was asked for cannot be done; the message says what can."""


def capture(images: data.Dataset, recipe: Recipe, ranks: int, step: int, seed: int) -> np.ndarray:
    """Each rank's gradient after `step` updates; float32 [ranks, parameters].

    A rank's images in a step are `recipe.micro_batch`; there is no node emulation.
    """
    torch.set_num_threads(1)  # the order of additions must not depend on the machine's cores
    # One process that stands for all ranks: its emulated nodes are they.
    layout = batches.Layout(rank=0, ranks=1, nodes=ranks, micro_batch=recipe.micro_batch)
    total_steps = checked_steps(recipe, layout, len(images.train_labels), step)
    _, channels, side, _ = images.train_images.shape
    network = model.build(channels, side, len(images.class_names), seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    steps = every_step(images, layout, seed, recipe.epochs)
    for done, micro_batches in enumerate(steps):
        rows = torch.stack([gradient(network, batch) for batch in micro_batches])
        if done == step:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, done, total_steps)
        update(network, optimizer, rows.mean(dim=0))
    return rows.numpy()


def checked_steps(recipe: Recipe, layout: batches.Layout, images: int, step: int) -> int:
    """All steps of the recipe, among which `step` must be."""
    total_steps = recipe.total_steps(layout.steps_per_epoch(images))
    if total_steps == 0:
        raise UsageError(
            f"a step takes {layout.nodes} ranks x {layout.micro_batch} images, but there are only"
            f" {images}: choose a smaller --ranks or --micro-batch"
        )
    if step >= total_steps:
        raise UsageError(
            f"--step {step}: the recipe has {total_steps} steps; allowed is 0 to {total_steps - 1}"
        )
    return total_steps


def every_step(
    images: data.Dataset, layout: batches.Layout, seed: int, epochs: int
) -> Iterator[list[batches.MicroBatch]]:
    """The ranks' batches of one step after the other, through all epochs."""
    for epoch in range(epochs):
        yield from batches.epoch_batches(images, layout, seed, epoch)


def gradient(network: nn.Module, batch: batches.MicroBatch) -> torch.Tensor:
    """Of the mean loss of one batch, all parameters in one vector."""
    inputs, labels = batch
    loss = cross_entropy(network(inputs), labels)
    of_parameters = torch.autograd.grad(loss, list(network.parameters()))
    return torch.cat([one.reshape(-1) for one in of_parameters])


def update(network: nn.Module, optimizer: torch.optim.Optimizer, average: torch.Tensor) -> None:
    """One step of the optimizer with the gradient that is given."""
    parameters = list(network.parameters())
    pieces = average.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    optimizer.step()


def describe(rows: np.ndarray) -> str:
    """Shape, zeros and the spread of the exponents, in one line."""
    size = f"{rows.shape[0]} x {rows.shape[1]} values"
    magnitudes = np.abs(rows[rows != 0])
    if magnitudes.size == 0:
        return f"{size}, all zero"
    exponents = np.frexp(magnitudes)[1] - 1  # floor(log2)
    low, first, median, third, high = np.percentile(exponents, [0, 1, 50, 99, 100]).astype(int)
    zeros = 100 * (1 - magnitudes.size / rows.size)
    return (
        f"{size}, {zeros:.1f} % zeros; the others' binary exponents: smallest {low},"
        f" 1 % below {first}, median {median}, 1 % above {third}, largest {high}"
    )


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: whole numbers from `least` on."""

    def parse_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least {least}")
        return int(text)

    return parse_number


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perf/gradients",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--step",
        type=at_least(0),
        default=50,
        metavar="N",
        help="capture after N updates of the parameters (default: 50)",
    )
    parser.add_argument(
        "--ranks",
        type=at_least(1),
        default=8,
        metavar="N",
        help="rows, each with images of its own (default: 8)",
    )
    parser.add_argument(
        "--micro-batch",
        type=at_least(1),
        default=16,
        metavar="N",
        help="images of one rank in a step (default: 16, which makes 8 ranks' 128 the global batch"
        " of the digits recipe on 4 ranks)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="of the parameters and the order of the images (default: 0)",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="CIFAR-10 from this folder: data_batch_*.bin, test_batch.bin, batches.meta.txt, the"
        " official binary version (default: the digits that scikit-learn carries)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gradients.npy"),
        metavar="FILE",
        help="the file to write (default: gradients.npy)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    return parser.parse_args(arguments)


def check_out(out: Path, force: bool) -> None:
    """Before the work begins: may the file be written?"""
    if out.suffix != ".npy":
        raise UsageError(f"--out {out}: the file's name must end in .npy")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    if out.exists() and not force:
        raise UsageError(f"--out {out} exists; choose another name, or --force to overwrite it")


def write(out: Path, rows: np.ndarray) -> None:
    """Whole or not at all: what was there stays until the new file is complete."""
    unfinished = out.with_suffix(".unfinished.npy")
    np.save(unfinished, rows)
    unfinished.replace(out)


def main(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    recipe = dataclasses.replace(
        DIGITS if asked.data_root is None else CIFAR, nodes=1, micro_batch=asked.micro_batch
    )
    try:
        check_out(asked.out, asked.force)
        images = data.load(asked.data_root)
        rows = capture(images, recipe, asked.ranks, asked.step, asked.seed)
        write(asked.out, rows)
    except (UsageError, data.DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{asked.out}: {describe(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
