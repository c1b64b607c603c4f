"""A program as people write them for CPD: nothing in it but the imports is this library's.

Each rank trains on its own rows; the last line that a rank prints is what it has in the end.
"""

import hashlib
import json
import os
import sys

import torch
import torch.distributed as dist

from cpdcomm.compat.cpd.quant import Quantizer, float_quantize
from cpdcomm.compat.cpd.utils.dist_util import DistModule, dist_init, sum_gradients

use_APS, use_kahan = "--use_APS" in sys.argv, "--use_kahan" in sys.argv
STEPS = 30

rank, world_size = dist_init()
torch.manual_seed(rank)
model = DistModule(
    torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.ReLU(), Quantizer(5, 10, 5, 10), torch.nn.Linear(32, 4)
    )
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
generator = torch.Generator().manual_seed(100 + rank)
teacher = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
losses = []
model.train()
for _ in range(STEPS):
    inputs = torch.randn(64, 16, generator=generator)
    labels = (inputs @ teacher).argmax(1)
    loss = torch.nn.functional.cross_entropy(model(inputs), labels) / world_size
    reduced_loss = loss.data.clone()
    dist.all_reduce(reduced_loss)
    losses.append(reduced_loss.item())
    optimizer.zero_grad()
    loss.backward()
    sum_gradients(model, use_APS=use_APS, grad_exp=5, grad_man=2, use_kahan=use_kahan)
    for param in model.parameters():
        assert torch.equal(param.grad, float_quantize(param.grad, 5, 2)) or use_APS
    optimizer.step()

parameters = torch.cat([param.data.reshape(-1) for param in model.parameters()])
found = {
    "rank": rank,
    "size": world_size,
    "first": losses[0],
    "last": losses[-1],
    "digest": hashlib.sha256(parameters.numpy().tobytes()).hexdigest(),
    "address": os.environ["MASTER_ADDR"],
}
os.write(1, f"FOUND {json.dumps(found)}\n".encode())
dist.destroy_process_group()
