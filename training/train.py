"""Trains the same network with its gradients summed in different ways: the whole comparison."""

import argparse
import dataclasses
import datetime
import os
import platform
import shlex
import sys
import time
import warnings
from pathlib import Path

import torch
import torch.distributed as dist

import cpdcomm
from training import command_line, configurations, data, log, model, table
from training.batches import Layout
from training.configurations import Configuration
from training.identity import RanksDiffer
from training.progress import Progress, TimeLeft
from training.recipe import Recipe
from training.trainer import Trainer

# What Open MPI, MPICH, Slurm and torchrun say of how many processes they started.
STARTED_TOGETHER = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE")


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


def main() -> int:
    arguments = command_line.parse()
    if arguments.list:
        if command_line.is_first_rank():
            print(configurations.describe())
        return 0
    torch.set_num_threads(1)  # the ranks share the cores
    # Of DDP, about the layout of the first convolution's gradient; harmless.
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    try:
        compare(arguments)
        return 0
    except (UsageError, data.DataError, log.FolderTaken) as error:
        return give_up(error, 2)
    except RanksDiffer as error:
        return give_up(error, 1)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def give_up(error: Exception, exit_code: int) -> int:
    """All ranks find the same mistake; rank 0 speaks of it and returns the exit code.

    The others return 0, because mpirun ends all ranks as soon as one fails: perhaps before rank 0
    has said why.
    """
    if not command_line.is_first_rank():
        return 0
    print(f"error: {error}", file=sys.stderr, flush=True)
    return exit_code


def compare(arguments: argparse.Namespace) -> None:
    """Trains every configuration with every seed and writes what came out."""
    names = arguments.configs or default_names(arguments)
    chosen = [parse_configuration(name) for name in dict.fromkeys(names)]
    seeds = arguments.seeds or (1 if arguments.quick else 3)
    images = data.load(arguments.data_root, arguments.train_limit)
    recipe = command_line.recipe(arguments)

    join_ranks()
    layout = Layout(dist.get_rank(), dist.get_world_size(), recipe.nodes, recipe.micro_batch)
    steps = recipe.total_steps(layout.steps_per_epoch(len(images.train_labels)))
    if steps == 0:
        raise UsageError(
            f"one step takes {layout.ranks} ranks x {layout.nodes} nodes x {layout.micro_batch}"
            f" images, but there are only {len(images.train_labels)} training images:"
            " choose a smaller --micro-batch or --nodes"
        )

    folder = agree_on_folder(arguments, Path("runs") / images.name)
    records = log.Log(folder if layout.rank == 0 else None)
    records.write("header", header(recipe, layout, images, steps, names, seeds))
    say(table.headline(records.records[0]))
    began = time.perf_counter()
    train_all(chosen, seeds, recipe, layout, images, records)
    if layout.rank == 0:
        finish(records, folder, time.perf_counter() - began)
    dist.barrier()


def default_names(arguments: argparse.Namespace) -> list[str]:
    """What runs where --configs names nothing."""
    if arguments.few_bits:
        return list(configurations.FEW_BITS)
    return configurations.QUICK if arguments.quick else list(configurations.DEFAULTS)


def parse_configuration(name: str) -> Configuration:
    try:
        configuration = configurations.parse(name)
        cpdcomm.quantize(torch.zeros(1), configuration.wire)  # raises for an unknown format
    except Exception as error:
        raise UsageError(f"--configs {name}: {error}") from error
    return configuration


def join_ranks() -> None:
    """Under mpirun or srun cpdcomm has told torch who we are; else this is a group of one."""
    if "RANK" in os.environ:
        dist.init_process_group("cpd")
        return
    together = max(int(os.environ.get(name, 1)) for name in STARTED_TOGETHER)
    if together > 1:
        raise UsageError(
            f"{together} processes were started together, but nothing connects them, and each would"
            " train alone: start them with mpirun, torchrun or srun --mpi=pmix"
        )
    dist.init_process_group("cpd", store=dist.HashStore(), rank=0, world_size=1)


def agree_on_folder(arguments: argparse.Namespace, default: Path) -> Path | None:
    """Rank 0 makes the folder; all ranks stop if it could not."""
    folder = None
    problem: Exception | None = None
    if dist.get_rank() == 0:
        try:
            folder = log.prepare_folder(arguments.out, default, arguments.force)
        except (log.FolderTaken, OSError) as error:
            problem = error
    failed = torch.tensor([int(problem is not None)])
    dist.broadcast(failed, src=0)
    if failed:
        raise UsageError(str(problem or "rank 0 cannot write to the output folder"))
    return folder


def header(
    recipe: Recipe, layout: Layout, images: data.Dataset, steps: int, names: list[str], seeds: int
) -> log.Record:
    """All that is needed to run the same thing again."""
    _, channels, side, _ = images.train_images.shape
    network = model.build(channels, side, len(images.class_names), seed=0)
    launcher = f"mpirun -n {layout.ranks} " if layout.ranks > 1 else ""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": f"{launcher}python -m training.train {shlex.join(sys.argv[1:])}".strip(),
        "versions": {
            "cpdcomm": getattr(cpdcomm, "__version__", "unknown"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "cores": os.cpu_count(),
        "dataset": images.name,
        "train_images": len(images.train_labels),
        "test_images": len(images.test_labels),
        "parameters": sum(p.numel() for p in network.parameters()),
        "ranks": layout.ranks,
        "global_batch": layout.global_batch,
        "total_steps": steps,
        "configurations": names,
        "seeds": seeds,
        **dataclasses.asdict(recipe),
    }


def train_all(
    chosen: list[Configuration],
    seeds: int,
    recipe: Recipe,
    layout: Layout,
    images: data.Dataset,
    records: log.Log,
) -> None:
    """Every configuration with the first seed, then with the second, ..."""
    steps = recipe.total_steps(layout.steps_per_epoch(len(images.train_labels)))
    planned = {kind(one): 0 for one in chosen}
    for one in chosen:
        planned[kind(one)] += seeds * steps
    progress = Progress(len(chosen) * seeds, TimeLeft(planned), enabled=layout.rank == 0)
    for seed in range(seeds):
        for configuration in chosen:
            progress.begin_run(configuration.name, seed, kind(configuration))
            train_one(Trainer(configuration, seed, recipe, layout, images), progress, records)


def kind(configuration: Configuration) -> str:
    """Runs of one kind take the same time."""
    return configuration.accumulate if configuration.emulated else configuration.way


def train_one(trainer: Trainer, progress: Progress, records: log.Log) -> None:
    epochs = -(-trainer.total_steps // trainer.steps_per_epoch)

    def on_step(epoch: int) -> None:
        progress.step(f"epoch {epoch + 1} of {epochs}, step {trainer.step}")

    def on_epoch(record: log.Record) -> None:
        records.write("epoch", record)
        progress.epoch(f"epoch {record['epoch']} of {epochs}, {outcome(record)}")

    result = trainer.run(on_step, on_epoch)
    records.write("run", result | {"ranks_identical": True})
    progress.end_run(outcome(result))


def outcome(record: log.Record) -> str:
    return f"test accuracy {100 * record['test_accuracy']:.2f} %, loss {record['train_loss']:.4f}"


def finish(records: log.Log, folder: Path, seconds: float) -> None:
    """The table and the picture."""
    from training import figure  # needs matplotlib, and only here

    records.write("table", {"seconds": seconds, "rows": table.rows(records.records)})
    (folder / table.FILE_NAME).write_text(table.markdown(records.records))
    figure.draw(records.records, folder / figure.FILE_NAME)
    print(f"\n{table.text(records.records)}\n\n{table.CAPTION}\n")
    print("After each run the parameters were the same on every rank, bit for bit.")
    print(f"{seconds / 60:.1f} minutes; table, curves and log are in {folder}")


def say(text: str) -> None:
    if dist.get_rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
