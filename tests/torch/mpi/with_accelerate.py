"""What the page of the backend says of Accelerate: the group is made before the Accelerator."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from ddp import BATCH, STEPS, blobs, flat, network
from torch.nn.functional import cross_entropy

import cpdcomm


def main():
    dist.init_process_group("cpd", pg_options=cpdcomm.Options(wire="e4m3"))
    accelerator = Accelerator(cpu=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model, optimizer = accelerator.prepare(model, optimizer)
    inputs, labels = blobs()
    losses = []
    for i in range(STEPS):
        rows = slice(i * BATCH + accelerator.process_index, (i + 1) * BATCH, dist.get_world_size())
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs[rows]), labels[rows])
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    stats = cpdcomm.stats().by_operation["all_reduce"]
    report = [type(model).__name__, losses[-1] < 0.5 * losses[0], stats.compressed >= STEPS]
    Path(sys.argv[1], str(dist.get_rank())).write_text(f"{report} {hash(flat(model).tobytes())}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
