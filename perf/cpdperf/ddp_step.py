"""A training step of DistributedDataParallel, by backend and wire format, in one launch."""

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import cpdcomm
from cpdcomm import ddp
from cpdperf.processor import cpu_model

CLASSES = 10
SCHEMA = "cpd-ddp-step/1"
EPILOG = """\
contenders:
  alone       no gradients are summed: what the computation takes
  gloo        FP32
  gloo-bf16   torch's own bf16_compress_hook
  cpd:FORMAT[@SCALING]
              backend cpd with cpdcomm.ddp.allreduce_hook, such as cpd:e4m3 or cpd:e4m3@delayed

Contenders take turns step by step; a step's time is that of the slowest rank. `exposed` is what a
step takes longer than `alone`. All start from one model and see the same batches.

examples:
  perf/ddp-step -J step.json                                4 ranks on this host
  perf/lab with 4 --rate 1gbit -- run --launcher torchrun -- $PWD/perf/ddp-step -J $PWD/step.json
  perf/plot ddp-step step.json                              step.png: times, and losses
"""


@dataclass
class Contender:
    """A model that is trained its own way."""

    name: str
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        """Seconds of a step on this rank, and the loss."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - start, loss.item()


def network(width: int, layers: int) -> torch.nn.Module:
    torch.manual_seed(3)
    sizes = [width] * (layers + 1)
    hidden = [
        part
        for a, b in zip(sizes, sizes[1:], strict=False)
        for part in (torch.nn.Linear(a, b), torch.nn.ReLU())
    ]
    return torch.nn.Sequential(*hidden, torch.nn.Linear(width, CLASSES))


def bf16_over_gloo(group: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """torch's own; DDP lets only NCCL take it by its name, and it reads the annotations."""
    return default_hooks.bf16_compress_hook(group, bucket)


def contender(name: str, options: argparse.Namespace, cpd: dist.ProcessGroup) -> Contender:
    bare = network(options.width, options.layers)
    model: torch.nn.Module = bare
    if name == "gloo":
        model = DistributedDataParallel(bare)
    elif name == "gloo-bf16":
        model = DistributedDataParallel(bare)
        model.register_comm_hook(None, bf16_over_gloo)
    elif name.startswith("cpd:"):
        model = DistributedDataParallel(bare, process_group=cpd)
        wire, _, scaling = name.removeprefix("cpd:").partition("@")
        state = ddp.HookState(bare, wire, group=cpd, scaling=scaling or None)
        model.register_comm_hook(state, ddp.allreduce_hook)
    elif name != "alone":
        raise SystemExit(
            f"unknown contender '{name}': known are alone, gloo, gloo-bf16, cpd:FORMAT[@SCALING]"
        )
    return Contender(name, model, torch.optim.SGD(bare.parameters(), lr=options.learning_rate))


def batch(step: int, options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels that follow from the inputs, so that there is something to learn."""
    centres = torch.randn(CLASSES, options.width, generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(1000 * step + dist.get_rank())
    y = torch.randint(CLASSES, (options.batch,), generator=generator)
    return centres[y] + torch.randn(options.batch, options.width, generator=generator), y


def slowest(seconds: float) -> float:
    found = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return found.item()


def mean(loss: float) -> float:
    found = torch.tensor(loss, dtype=torch.float64)
    dist.all_reduce(found)
    return found.item() / dist.get_world_size()


def measure(contenders: list[Contender], options: argparse.Namespace) -> None:
    for step in range(options.warmups + options.steps):
        x, y = batch(step, options)
        for one in contenders:
            dist.barrier()
            seconds, loss = one.step(x, y)
            seconds = slowest(seconds)
            one.losses.append(mean(loss))
            if step >= options.warmups:
                one.seconds.append(seconds)
        if dist.get_rank() == 0:
            print(f"step {step + 1}/{options.warmups + options.steps}", file=sys.stderr, flush=True)


def record(contenders: list[Contender], options: argparse.Namespace) -> dict:
    medians = {one.name: statistics.median(one.seconds) for one in contenders}
    alone = medians.get("alone")
    return {
        "schema": SCHEMA,
        "command": ["perf/ddp-step", *sys.argv[1:]],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": cpu_model(),
        "torch": torch.__version__,
        "cpdcomm": cpdcomm.__version__,
        "ranks": dist.get_world_size(),
        "parameters": sum(p.numel() for p in contenders[0].model.parameters()),
        "batch": options.batch,
        "results": [
            {
                "contender": one.name,
                "seconds": medians[one.name],
                "exposed": None if alone is None else medians[one.name] - alone,
                "all_seconds": one.seconds,
                "losses": one.losses,
            }
            for one in contenders
        ],
    }


def table(found: dict) -> str:
    by_name = {row["contender"]: row for row in found["results"]}
    lines = [f"{'contender':18} {'step':>10} {'exposed':>10} {'over gloo':>10} {'last loss':>10}"]
    for name, row in by_name.items():
        gain = by_name["gloo"]["seconds"] / row["seconds"] if "gloo" in by_name else float("nan")
        exposed = "" if row["exposed"] is None else f"{row['exposed'] * 1e3:.0f} ms"
        lines.append(
            f"{name:18} {row['seconds'] * 1e3:7.0f} ms {exposed:>10} {gain:10.2f} "
            f"{statistics.mean(row['losses'][-5:]):10.4f}"
        )
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="perf/ddp-step",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--contenders",
        metavar="NAME,...",
        default="alone,gloo,gloo-bf16,cpd:fp32,cpd:e4m3,cpd:e3m0",
        help="(%(default)s)",
    )
    parser.add_argument("--width", type=int, default=2500, help="of each layer (2500)")
    parser.add_argument("--layers", type=int, default=4, help="4: 25 million parameters")
    parser.add_argument("--batch", type=int, default=16, help="samples of a rank (16)")
    parser.add_argument("--steps", type=int, default=20, help="timed (20)")
    parser.add_argument("--warmups", type=int, default=3, help="before them (3)")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="of SGD (0.05)")
    parser.add_argument("-J", "--json", type=Path, help="write what was found there")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    cpd = dist.new_group(backend="cpd")
    contenders = [contender(name, options, cpd) for name in options.contenders.split(",")]
    measure(contenders, options)
    if dist.get_rank() == 0:
        found = record(contenders, options)
        print(table(found))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
