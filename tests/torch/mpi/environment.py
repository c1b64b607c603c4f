"""Says what torch finds in the environment after the import, and that a group comes of it.

    environment.py [group] [workers]

`group`: of the processes of the launcher, and what is in the environment then. `workers`: each of
them spawns as many as SPAWNED says, which have a group of their own.
"""

import json
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import cpdcomm
from cpdcomm._backend import backend_of

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def say(words):
    os.write(1, f"FOUND {json.dumps(words)}\n".encode())


def variables():
    return {name: os.environ.get(name) for name in NAMES}


def starts_mpi():
    """Whether the process has loaded MPI."""
    with open("/proc/self/maps") as file:
        return "libcpdcomm_mpi" in file.read()


def worker(number, first, size):
    """One of a group of spawned processes."""
    try:
        dist.init_process_group(
            "cpd", init_method=os.environ["MEET"], rank=first + number, world_size=size
        )
    except cpdcomm.UnsupportedError as error:
        say({"told": str(error)})
        return
    x = torch.tensor([1.03])
    cpdcomm.all_reduce(x, wire="e4m3")
    say({"sum": x.item(), "network": backend_of(None).network, "rank": dist.get_rank()})
    dist.destroy_process_group()


if __name__ == "__main__":
    found = {"mpi": os.environ.get("OMPI_COMM_WORLD_RANK"), "starts_mpi": starts_mpi()}
    found |= variables()
    if "workers" in sys.argv:
        each = int(os.environ["SPAWNED"])
        size = each * int(os.environ["OMPI_COMM_WORLD_SIZE"])
        mp.spawn(worker, (each * int(os.environ["OMPI_COMM_WORLD_RANK"]), size), nprocs=each)
    if "group" in sys.argv:
        dist.init_process_group("cpd")
        x = torch.tensor([1.03])
        report = cpdcomm.all_reduce(x)
        found |= {"sum": x.item(), "algorithm": report.algorithm, "rank": dist.get_rank()}
        found |= {"at_group": variables()}
        dist.destroy_process_group()
    say(found)
