"""A rank that is stopped, not ended: over every network only the deadline tells.

stopped.py FOLDER
"""

import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm  # noqa: F401  registers the backend

TIMEOUT = 3.0
STOPPED = 1


def main():
    folder = Path(sys.argv[1])
    dist.init_process_group("cpd", timeout=datetime.timedelta(seconds=TIMEOUT))
    rank = dist.get_rank()
    dist.barrier()
    if rank == STOPPED:
        # Another process wakes it: by then the others have given up.
        wake = f"sleep {4 * TIMEOUT}; kill -CONT {os.getpid()}"
        subprocess.Popen(["sh", "-c", wake], start_new_session=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    start = time.monotonic()
    try:
        dist.all_reduce(torch.ones(100_000))
        found = "no error"
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    (folder / str(rank)).write_text(f"{time.monotonic() - start:.1f}\n{found}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
