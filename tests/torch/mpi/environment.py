"""Says what torch will find in the environment after the import, and that a group comes of it."""

import json
import os
import sys

import torch
import torch.distributed as dist

import cpdcomm

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def say(words):
    os.write(1, f"FOUND {json.dumps(words)}\n".encode())


if __name__ == "__main__":
    found = {name: os.environ.get(name) for name in NAMES}
    found["mpi"] = os.environ.get("OMPI_COMM_WORLD_RANK")
    if "group" in sys.argv:
        dist.init_process_group("cpd")
        x = torch.tensor([1.03])
        report = cpdcomm.all_reduce(x)
        found |= {"sum": x.item(), "algorithm": report.algorithm, "rank": dist.get_rank()}
        dist.destroy_process_group()
    say(found)
