"""A job one of whose ranks kills itself at some moment: what the others are told.

    killed.py FOLDER VICTIM SECONDS

Each survivor writes FOLDER/RANK: the error's class, whether it came within the timeout, its words.
"""

import datetime
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm

TIMEOUT = 240.0  # long: an end over UCX is known at once
OPERATIONS = ("sum", "low", "large", "gather", "ring", "barrier")


def operate(kind, rank, size):
    if kind == "sum":
        dist.all_reduce(torch.ones(1000))
    elif kind == "low":
        cpdcomm.all_reduce([torch.ones(50_000), torch.ones(7)], wire="e4m3")
    elif kind == "large":
        cpdcomm.all_reduce(torch.ones(2_000_000), wire="e3m0", algorithm="ring")
    elif kind == "gather":
        dist.all_gather_into_tensor(torch.empty(1000 * size), torch.ones(1000))
    elif kind == "ring":
        sent = dist.isend(torch.ones(100_000), (rank + 1) % size)
        dist.recv(torch.empty(100_000), (rank - 1) % size)
        sent.wait()
    else:
        dist.barrier()


def work(rank, size):
    """The same operations on every rank, until one fails."""
    moves = random.Random(7)
    while True:
        operate(moves.choice(OPERATIONS), rank, size)


def main():
    folder, victim, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's: first what was seen is written
    torch.set_num_threads(1)
    dist.init_process_group("cpd", timeout=datetime.timedelta(seconds=TIMEOUT))
    rank, size = dist.get_rank(), dist.get_world_size()
    dist.barrier()
    if rank == victim:
        end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        end.daemon = True
        end.start()
    start = time.monotonic()
    try:
        work(rank, size)
    except Exception as error:
        found = {
            "error": type(error).__name__,
            "late": time.monotonic() - start - seconds,
            "text": str(error),
        }
        (folder / "writing").with_suffix(f".{rank}").write_text(json.dumps(found))
        os.replace(folder / f"writing.{rank}", folder / str(rank))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
