"""All-reduce of torch's gloo backend, in FP32 and BF16, measured as cpd-allreduce-perf does."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cpdperf.processor import cpu_model, cpuinfo
from cpdperf.sweep.sizes import SizeRange, parse_size

SCHEMA = "cpd-allreduce-perf/1"
# Bits of the significand with the hidden one: a rounding errs by at most 2^-bits of the value.
TYPES = {"fp32": (torch.float32, 24), "bf16": (torch.bfloat16, 8)}
BLOCK = 1 << 16  # values that are made and checked at once
FEWEST_ITERATIONS = 3

EPILOG = """\
Start one process for each rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set; torchrun
and perf/sweep do. Each iteration begins with a barrier and sums a fresh copy in place; copies and
casts to BF16 are not timed. A time is the mean over the ranks. Sizes count 4 bytes for each value,
in BF16, too.

examples (from perf/):
  torchrun --nproc-per-node 4 -m cpdperf.peers.gloo -b 1K -e 64M -f 4
  torchrun --nproc-per-node 2 -m cpdperf.peers.gloo -b 1M --wire bf16 -n 50 -J gloo.json

exit codes: 0 right, 1 a wrong result, 2 bad usage or another error
"""


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass
class Contender:
    """One type of tensor: its part, its sums' times, and how wrong it was."""

    wire: str
    part: torch.Tensor
    seconds: list[float] = field(default_factory=list)
    errors: dict[str, float | int | None] = field(default_factory=dict)

    def sum_once(self) -> tuple[torch.Tensor, float]:
        """Sums a copy over the ranks; returns it and the time on this rank."""
        tensor = self.part.clone()
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(tensor)
        return tensor, time.perf_counter() - start


class Inputs:
    """What each rank puts in; any rank can make any block of any other's."""

    def __init__(self, name: str, seed: int, ranks: int) -> None:
        self.seed, self.ranks = seed, ranks
        self.array = None if name == "random" else read_array(name)

    def block(self, rank: int, first: int, count: int) -> np.ndarray:
        """Values first .. first + count of a rank; `first` is a multiple of BLOCK."""
        if self.array is None:
            stream = np.random.Philox(key=self.seed, counter=[0, 0, rank, first // BLOCK])
            return np.random.Generator(stream).standard_normal(count, dtype=np.float32)
        rows, columns = self.array.shape
        start = rank * columns // self.ranks if rows == 1 else 0
        place = np.arange(first + start, first + start + count)
        return self.array[(rank + place // columns) % rows, place % columns]

    def whole(self, rank: int, count: int) -> torch.Tensor:
        blocks = [self.block(rank, i, min(BLOCK, count - i)) for i in range(0, count, BLOCK)]
        return torch.from_numpy(np.concatenate(blocks))


def read_array(path: str) -> np.ndarray:
    """The values of a file, float32 [rows, columns]."""
    try:
        array = np.atleast_2d(np.load(path))
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--input {path}: 'random' or a readable .npy file ({error})") from None
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise UsageError(
            f"--input {path}: {array.dtype} of shape {array.shape}, not floats [ranks, values]"
        )
    return array.astype(np.float32)


def over_ranks(values: list[float], op: dist.ReduceOp) -> list[float]:
    """Joins a list of numbers over the ranks, one by one."""
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, op=op)
    return tensor.tolist()


def check(contender: Contender, result: torch.Tensor, inputs: Inputs) -> None:
    """Compares this rank's sum with one in double precision, a block at a time."""
    ranks, count = dist.get_world_size(), len(result)
    unit = 2.0 ** -TYPES[contender.wire][1]
    # The part and each partial sum are rounded once at most; each rounding may grow the next.
    factor = ranks * unit * (1 + unit) ** ranks
    squares = squared_errors = largest = wrong = 0.0
    for first in range(0, count, BLOCK):
        parts = [inputs.block(r, first, min(BLOCK, count - first)) for r in range(ranks)]
        exact = np.sum(parts, axis=0, dtype=np.float64)
        allowed = factor * np.sum(np.abs(parts), axis=0, dtype=np.float64) + ranks * 2.0**-133
        error = np.abs(result[first : first + BLOCK].double().numpy() - exact)
        error[np.isnan(error)] = np.inf  # a maximum over the ranks may lose a NaN
        squares += float(np.sum(exact**2))
        squared_errors += float(np.sum(error**2))
        largest = max(largest, float(np.max(error)))
        wrong += int(np.count_nonzero(~(error <= allowed)))
    relative = (squared_errors / squares) ** 0.5 if squares else 0.0
    relative, largest, wrong = over_ranks([relative, largest, wrong], dist.ReduceOp.MAX)
    contender.errors = {
        "rel_rms": relative if np.isfinite(relative) else None,
        "max_error": largest if np.isfinite(largest) else None,
        "checked_against": "bound",
        "wrong": int(wrong),
    }


def time_is_over(limit: float | None, began: float) -> bool:
    """Rank 0's clock decides for all."""
    if limit is None:
        return False
    over = torch.tensor([time.perf_counter() - began > limit])
    dist.broadcast(over, src=0)
    return bool(over)


def time_in_turn(arguments: argparse.Namespace, contenders: list[Contender]) -> None:
    """Rounds of one call each, until there are enough or the time is over."""
    began = time.perf_counter()
    for turn in range(-arguments.warmup_iters, arguments.iters):
        if turn >= FEWEST_ITERATIONS and time_is_over(arguments.time_limit, began):
            break
        for contender in contenders:
            _, seconds = contender.sum_once()
            if turn >= 0:
                contender.seconds.append(seconds)


def measure(arguments: argparse.Namespace, size: int, inputs: Inputs) -> list[Contender]:
    """All types at one size, interleaved."""
    part = inputs.whole(dist.get_rank(), size // 4)
    contenders = [Contender(wire, part.to(TYPES[wire][0])) for wire in arguments.wire]
    if arguments.check:
        for contender in contenders:
            check(contender, contender.sum_once()[0], inputs)
    time_in_turn(arguments, contenders)
    for contender in contenders:
        total = over_ranks(contender.seconds, dist.ReduceOp.SUM)
        contender.seconds = [seconds / dist.get_world_size() for seconds in total]
    return contenders


def rows(contenders: list[Contender], size: int) -> list[dict[str, object]]:
    """The results of one size, as the schema has them."""
    ranks = dist.get_world_size()
    medians = {c.wire: statistics.median(c.seconds) for c in contenders}
    return [row(c, size, ranks, medians) for c in contenders]


def row(
    contender: Contender, size: int, ranks: int, medians: dict[str, float]
) -> dict[str, object]:
    times = [seconds * 1e6 for seconds in contender.seconds]
    median = medians[contender.wire]
    unchecked = dict.fromkeys(("rel_rms", "max_error", "checked_against", "wrong"))
    return {
        "size": size,
        "count": size // 4,
        "type": "float",
        "redop": "sum",
        "wire": contender.wire,
        "algorithm": "gloo",
        "algorithm_taken": None,
        "accumulate": None,
        "scaling": None,
        "rounding": None,
        "in_place": True,
        "ranks": ranks,
        "iterations": len(times),
        "time_us": median * 1e6,
        "time_us_min": min(times),
        "time_us_p99": float(np.percentile(times, 99, method="inverted_cdf")),
        "times_us": times,
        "algbw": size / median / 1e9,
        "busbw": size / median / 1e9 * 2 * (ranks - 1) / ranks,
        "wire_bytes": None,
        "wire_bytes_max": None,
        "wirebw": None,
        "gain": medians["fp32"] / median if "fp32" in medians else None,
        **(contender.errors or unchecked),
    }


def instruction_sets() -> str:
    families = ("sse", "ssse3", "avx", "fma", "bmi2", "gfni", "asimd", "sve", "amx")
    flags = f"{cpuinfo('flags')} {cpuinfo('Features')}".split()
    return " ".join(flag for flag in flags if flag.startswith(families))


def header(arguments: argparse.Namespace, date: str) -> dict[str, object]:
    """Everything but the results; every rank must call it."""
    hosts: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(hosts, os.uname().nodename)
    options = {name: value for name, value in vars(arguments).items() if name != "output_file"}
    return {
        "schema": SCHEMA,
        "program": "cpdperf.peers.gloo",
        "version": torch.__version__,
        "date": date,
        "command": ["cpdperf.peers.gloo", *sys.argv[1:]],
        "machine": {
            "cpu_model": cpu_model(),
            "instruction_sets": instruction_sets(),
            "cores": len(os.sched_getaffinity(0)),
            "simd_target": torch.backends.cpu.get_cpu_capability(),
            "ranks": dist.get_world_size(),
            "hosts": hosts,
        },
        "mpi": None,
        "transport": "gloo",
        "options": options,
        "left_out": [],
    }


def show(row: dict[str, object]) -> None:
    wrong = "-" if row["wrong"] is None else row["wrong"]
    print(
        f"{row['size']:>12} {row['count']:>12} {row['wire']:>6} {row['time_us']:>12.1f}"
        f" {row['algbw']:>8.3f} {row['busbw']:>8.3f} {wrong:>8}",
        flush=True,
    )


def run(arguments: argparse.Namespace, inputs: Inputs) -> int:
    """Measures all sizes; returns the exit code."""
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    is_first = dist.get_rank() == 0
    document = header(arguments, date)
    results: list[dict[str, object]] = []
    if is_first:
        print(f"# gloo of torch {torch.__version__}, {dist.get_world_size()} ranks")
        print("#       size        count   wire      time us    algbw    busbw   #wrong")
    for size in sizes_of(arguments).sizes():
        found = rows(measure(arguments, size, inputs), size)
        results += found
        if is_first:
            for one in found:
                show(one)
    if is_first and arguments.output_file:
        with open(arguments.output_file, "x") as file:
            json.dump(document | {"results": results}, file, allow_nan=False)
    return 1 if any(one["wrong"] for one in results) else 0


def sizes_of(arguments: argparse.Namespace) -> SizeRange:
    last = arguments.maxbytes or arguments.minbytes
    return SizeRange(arguments.minbytes, last, arguments.stepfactor)


def size_argument(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number, at least 1")
    return int(text)


def wires_argument(text: str) -> list[str]:
    wires = text.split(",")
    unknown = [wire for wire in wires if wire not in TYPES]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}': gloo sums {' or '.join(TYPES)}")
    return wires


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cpdperf.peers.gloo",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-b", "--minbytes", type=size_argument, default=1 << 20, help="first size (1M)")
    add("-e", "--maxbytes", type=size_argument, help="last size (the first)")
    add("-f", "--stepfactor", type=positive, default=4, help="from size to size (4)")
    add("-n", "--iters", type=positive, default=20, help="timed iterations (20)")
    add("-w", "--warmup_iters", type=positive, default=1, help="not timed (1)")
    add("-c", "--check", type=int, choices=(0, 1), default=1, help="compare with the exact sum (1)")
    add("--wire", type=wires_argument, default=list(TYPES), help="fp32, bf16 or both (both)")
    add("--input", default="random", help="random, or FILE.npy of [ranks, values] (random)")
    add("--seed", type=int, default=1, help="of the random input (1)")
    add("--time-limit", type=float, metavar="S", help="about so many seconds a size, fewer -n")
    add("--timeout", type=float, metavar="S", default=300, help="of one operation (300)")
    add("-J", "--output_file", metavar="FILE", help="write JSON; must not exist")
    return parser.parse_args()


def validate(arguments: argparse.Namespace) -> None:
    """Finds mistakes on every rank alike, before the ranks join."""
    try:
        sizes_of(arguments)
    except ValueError as error:
        raise UsageError(error) from None
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if name not in os.environ]
    if missing:
        raise UsageError(f"{missing[0]} is not set: start it with torchrun, see --help")
    if arguments.output_file and Path(arguments.output_file).exists():
        raise UsageError(f"{arguments.output_file} exists; nothing is overwritten")


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)  # a rank has one core
    try:
        validate(arguments)
        inputs = Inputs(arguments.input, arguments.seed, int(os.environ["WORLD_SIZE"]))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=arguments.timeout))
    try:
        return run(arguments, inputs)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
