"""Casts of torch and ml_dtypes beside cpdcomm's, through Python, interleaved in one run."""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import ml_dtypes
import numpy as np
import torch

import cpdcomm
from cpdperf.processor import cpu_model

TORCH_TYPES = {
    "e4m3fn": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
    "bf16": torch.bfloat16,
}
ML_DTYPES = {
    "e4m3": ml_dtypes.float8_e4m3,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "bf16": ml_dtypes.bfloat16,
    "e2m1fn": ml_dtypes.float4_e2m1fn,
}
FORMATS = list(ML_DTYPES)

EPILOG = """\
Rates count 4 bytes for each FP32 value, whatever is read and written, on one core. Every candidate
gives a new tensor, as clone does; memcpy (torch's copy_) writes into memory that is there already.
ml_dtypes and torch keep a byte for each value, cpdcomm packs: 4 bits for e2m1fn.

examples, from the root of the clone:
  PYTHONPATH=perf .venv/bin/python -m cpdperf.peers.codec               a table, about a minute
  PYTHONPATH=perf .venv/bin/python -m cpdperf.peers.codec -J peers.json
  PYTHONPATH=perf .venv/bin/python -m cpdperf.peers.codec --wire e5m2 --values 65536
  perf/plot codec codec.json --peers peers.json                         draws it
"""


@dataclass
class Candidate:
    """One cast of one library; `run` does it once."""

    kernel: str
    format: str
    library: str
    run: Callable[[], object]
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        start = time.perf_counter()
        self.run()
        self.seconds.append(time.perf_counter() - start)


def baselines(x: torch.Tensor) -> list[Candidate]:
    out = torch.empty_like(x)
    return [
        Candidate("memcpy", "fp32", "torch", lambda: out.copy_(x)),
        Candidate("clone", "fp32", "torch", x.clone),
    ]


def casts(x: torch.Tensor, name: str) -> list[Candidate]:
    """All libraries' casts of x to a format and back."""
    packed = cpdcomm.encode(x, name)
    found = [
        Candidate("encode", name, "cpdcomm", lambda: cpdcomm.encode(x, name)),
        Candidate("quantize", name, "cpdcomm", lambda: cpdcomm.quantize(x, name)),
        Candidate("decode", name, "cpdcomm", lambda: cpdcomm.decode(packed, name, x.numel())),
    ]
    if name in TORCH_TYPES:
        of_torch = x.to(TORCH_TYPES[name])
        found += [
            Candidate("encode", name, "torch", lambda: x.to(TORCH_TYPES[name])),
            Candidate("decode", name, "torch", lambda: of_torch.to(torch.float32)),
        ]
    if name in ML_DTYPES:
        array = x.numpy()
        of_numpy = array.astype(ML_DTYPES[name])
        found += [
            Candidate("encode", name, "ml_dtypes", lambda: array.astype(ML_DTYPES[name])),
            Candidate("decode", name, "ml_dtypes", lambda: of_numpy.astype(np.float32)),
        ]
    return found


def measure(candidates: list[Candidate], repetitions: int, seed: int = 1) -> None:
    """Each candidate once per round, in another order each time, after one round to warm up."""
    order = random.Random(seed)
    for turn in range(repetitions + 1):
        for candidate in order.sample(candidates, len(candidates)):
            candidate.measure()
        if turn == 0:
            for candidate in candidates:
                candidate.seconds.clear()
        if sys.stderr.isatty():
            print(f"\rround {turn} of {repetitions}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)


def rows(candidates: list[Candidate], values: int) -> list[dict[str, object]]:
    """Medians, and how they compare with memcpy and with cpdcomm's cast of that name."""
    median = {(c.kernel, c.format, c.library): statistics.median(c.seconds) for c in candidates}
    memcpy = median["memcpy", "fp32", "torch"]
    table = []
    for (kernel, name, library), seconds in median.items():
        ours = median.get((kernel, name, "cpdcomm"))
        table.append(
            {
                "kernel": kernel,
                "format": name,
                "library": library,
                "gigabytes_per_second": 4e-9 * values / seconds,
                "to_memcpy": memcpy / seconds,
                "cpdcomm_to_this": None if ours is None else seconds / ours,
            }
        )
    return table


def context() -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "cpu_model": cpu_model(),
        "load_avg": os.getloadavg(),
        "cpdcomm_version": cpdcomm.__version__,
        "torch_version": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "ml_dtypes_version": ml_dtypes.__version__,
    }


def print_table(table: list[dict[str, object]]) -> None:
    print(f"{'kernel':10}{'format':8}{'library':11}{'GB/s':>8}{'of memcpy':>11}{'cpdcomm/it':>12}")
    for row in table:
        ratio = row["cpdcomm_to_this"]
        print(
            f"{row['kernel']:10}{row['format']:8}{row['library']:11}"
            f"{row['gigabytes_per_second']:8.2f}{row['to_memcpy']:11.2f}"
            + (f"{ratio:12.2f}" if ratio is not None and row["library"] != "cpdcomm" else "")
        )


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def writable(text: str) -> Path:
    """A file that can be created, to say so before anything is measured."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; the name of a file is needed")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def create(path: Path) -> TextIO:
    """A new file under the first free of FILE, FILE.1, FILE.2, ...: nothing is overwritten."""
    names = itertools.chain([str(path)], (f"{path}.{i}" for i in itertools.count(1)))
    return open(next(name for name in names if not Path(name).exists()), "x")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m cpdperf.peers.codec",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--formats",
        "--wire",
        nargs="+",
        choices=FORMATS,
        default=FORMATS,
        metavar="NAME",
        help=f"some of {' '.join(FORMATS)} (default: all)",
    )
    parser.add_argument("--values", type=positive, default=1 << 24, help="default: 16777216")
    parser.add_argument("-n", "--repetitions", type=positive, default=15, help="default: 15")
    parser.add_argument(
        "-J",
        "--output_file",
        type=writable,
        metavar="FILE",
        help="write JSON, too; if FILE exists, to FILE.1, FILE.2, ...",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    x = torch.randn(arguments.values, generator=torch.Generator().manual_seed(1))
    candidates = baselines(x)
    for name in arguments.formats:
        candidates += casts(x, name)
    measure(candidates, arguments.repetitions)
    table = rows(candidates, arguments.values)
    print_table(table)
    if arguments.output_file is not None:
        record = {"context": context(), "values": arguments.values, "results": table}
        with create(arguments.output_file) as file:
            print(f"# Writing JSON output to {file.name}")
            file.write(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
