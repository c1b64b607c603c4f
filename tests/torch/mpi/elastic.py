"""A job that torchrun starts again after a worker died: each attempt has a group of its own.

elastic.py FOLDER
"""

import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm  # noqa: F401  registers the backend


def main():
    folder = Path(sys.argv[1])
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    dist.init_process_group("cpd")
    x = torch.ones(1000)
    dist.all_reduce(x)
    if attempt == 0:
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()  # in vain
    dist.all_reduce(x)
    (folder / f"{attempt}-{dist.get_rank()}").write_text(str(x[0].item()))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
