"""All ranks of torch's gloo sum their ranks; each prints its host, rank, local rank and the sum."""

import os
import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank()])
dist.all_reduce(total)
host = os.uname().nodename
line = f"{host} {dist.get_rank()} {os.environ['LOCAL_RANK']} {total.item()}\n"
sys.stdout.write(line)
sys.stdout.flush()
dist.barrier()
dist.destroy_process_group()
