"""A job with a mesh of groups, and what each group costs that is kept.

    scarce.py FOLDER

Each rank writes FOLDER/RANK: the sums over the mesh, descriptors of a kept group, and what of
/dev/shm is in use while all groups are there.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

import cpdcomm  # noqa: F401

KEPT = 4


def total(group):
    """Of the ranks of a group, by a sum that takes many messages."""
    values = torch.full((100_000,), float(dist.get_rank()))
    dist.all_reduce(values, group=group)
    assert values.eq(values[0]).all()
    return values[0].item()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def used_bytes():
    status = os.statvfs("/dev/shm")
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def keep_groups():
    """More groups of all ranks; how many descriptors each of them costs."""
    before = descriptors()
    kept = [dist.new_group() for _ in range(KEPT)]
    for group in kept:
        total(group)
    return (descriptors() - before) / KEPT


def main():
    torch.set_num_threads(1)
    dist.init_process_group("cpd")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("rows", "columns"))
    sums = [total(mesh.get_group(name)) for name in ("rows", "columns")] + [total(None)]
    found = {"sums": sums, "descriptors": keep_groups(), "used": used_bytes()}
    dist.barrier()
    Path(sys.argv[1], str(rank)).write_text(json.dumps(found))
    dist.destroy_process_group()


main()
