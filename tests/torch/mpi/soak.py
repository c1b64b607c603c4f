"""Steps of DistributedDataParallel for some time: no rank's memory grows.

    soak.py SECONDS

Prints, on rank 0, the steps made and the largest growth of a rank between a fifth of the time and
the end, in KiB.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
from ddp import BATCH, STEPS, blobs, network
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import cpdcomm
from cpdcomm import ddp

TOGETHER = 50  # steps between looks at the clock, which all ranks must agree about
FEWEST = 6 * TOGETHER  # however slow the machine is: a bucket lost in each is seen


def resident_kib():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def models():
    """One for each way in which gradients travel."""
    plain = DistributedDataParallel(network())
    group = dist.new_group(backend="cpd", pg_options=cpdcomm.Options(wire="e4m3"))
    compressed = DistributedDataParallel(network(), process_group=group)
    hooked = DistributedDataParallel(network())
    state = ddp.HookState(hooked, "int4", error_feedback=True)
    hooked.register_comm_hook(state, ddp.allreduce_hook)
    portable = DistributedDataParallel(network())
    portable.register_comm_hook(ddp.HookState(portable, "e3m0"), ddp.portable_hook)
    return [plain, compressed, hooked, portable]


def train(model, optimizer, step, inputs, labels):
    rows = slice(step % STEPS * BATCH + dist.get_rank(), (step % STEPS + 1) * BATCH, 2)
    optimizer.zero_grad()
    cross_entropy(model(inputs[rows]), labels[rows]).backward()
    optimizer.step()


def elapsed(start):
    """Rank 0's clock."""
    seconds = torch.tensor(time.monotonic() - start, dtype=torch.float64)
    dist.broadcast(seconds, src=0)
    return seconds.item()


def main():
    limit = float(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("cpd")
    inputs, labels = blobs()
    trained = [(model, torch.optim.SGD(model.parameters(), lr=0.01)) for model in models()]
    start, steps, early = time.monotonic(), 0, None
    while (seconds := elapsed(start)) < limit or steps < FEWEST:
        if early is None and seconds > 0.2 * limit and steps >= 0.2 * FEWEST:
            early = resident_kib()
        for _ in range(TOGETHER):
            for model, optimizer in trained:
                train(model, optimizer, steps, inputs, labels)
            steps += 1
    growth = torch.tensor(resident_kib() - early)
    dist.all_reduce(growth, op=dist.ReduceOp.MAX)
    if dist.get_rank() == 0:
        print(f"{steps} steps of {len(trained)} models, {growth.item()} KiB more", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
