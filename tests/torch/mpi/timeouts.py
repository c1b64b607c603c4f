"""A timeout that was set later holds for every way to ask for a sum."""

import datetime
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm
from cpdcomm import ddp

dist.init_process_group("cpd")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 2))
model.register_comm_hook(ddp.HookState(model, wire="e4m3"), ddp.allreduce_hook)
asked = {
    "dist.all_reduce": lambda group: dist.all_reduce(torch.ones(9), group=group),
    "cpdcomm.all_reduce": lambda group: cpdcomm.all_reduce(torch.ones(9), group=group),
    "cpdcomm.reduce_scatter": lambda group: cpdcomm.reduce_scatter(
        torch.ones(9), torch.ones(9 * dist.get_world_size()), group=group
    ),
    "backward": lambda group: model(torch.ones(1, 3)).sum().backward(),
}
groups = {name: dist.new_group() for name in asked}
groups["backward"] = dist.group.WORLD
for group in groups.values():
    group.set_timeout(datetime.timedelta(seconds=1))
done = Path(sys.argv[1])
if dist.get_rank() != 0:
    end = time.monotonic() + 200
    while not done.exists() and time.monotonic() < end:
        time.sleep(0.1)
    sys.exit()  # none of them was called here
for name, call in asked.items():
    start = time.monotonic()
    try:
        call(groups[name])
    except Exception as error:
        assert "did not end within its timeout" in str(error), f"{name}: {error}"
        assert time.monotonic() - start < 60, name
    else:
        raise AssertionError(f"{name} has summed alone")
done.touch()
