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
PATIENCE = 120.0


def main():
    folder = Path(sys.argv[1])
    dist.init_process_group("cpd", timeout=datetime.timedelta(seconds=TIMEOUT))
    rank = dist.get_rank()
    dist.barrier()
    if rank == STOPPED:
        # Another process wakes it when the others have given up, or nobody will.
        others = " && ".join(f"[ -e {folder}/{rank} ]" for rank in (0, 2))
        tries = f"for i in $(seq {20 * PATIENCE:.0f}); do {others} && break; sleep 0.05; done"
        wake = ["sh", "-c", f"{tries}; kill -CONT {os.getpid()}"]
        subprocess.Popen(wake, start_new_session=True)
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
