"""One of the two processes of a check: ``python -m cpdcomm.doctor.rank FOLDER SECONDS``.

They meet in FOLDER, sum 65,536 values in e4m3, and each writes there what came out.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm

RANKS = 2
VALUES = 1 << 16


def main(folder: Path, seconds: float) -> None:
    torch.set_num_threads(1)
    if "RANK" not in os.environ:  # under mpirun cpdcomm sets it, once MPI has connected the ranks
        sys.exit("MPI does not connect the processes that its mpirun started")
    rank = int(os.environ["RANK"])
    dist.init_process_group(
        "cpd",
        store=dist.FileStore(str(folder / "store"), RANKS),
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=seconds),
    )
    found = measure(rank)
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))


def measure(rank: int) -> dict[str, object]:
    """Sums; returns the digest of the sum, how far it is from FP32's, and bytes sent."""
    parts = [torch.randn(VALUES, generator=torch.Generator().manual_seed(r)) for r in range(RANKS)]
    exact = parts[0] + parts[1]
    total = parts[rank]
    began = time.perf_counter()
    report = cpdcomm.all_reduce(total, wire="e4m3", algorithm="direct")
    return {
        "seconds": time.perf_counter() - began,
        "sha256": hashlib.sha256(total.numpy().tobytes()).hexdigest(),
        "relative_error": ((total - exact).norm() / exact.norm()).item(),
        "wire_bytes": report.wire_bytes,
        "logical_bytes": report.logical_bytes,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
