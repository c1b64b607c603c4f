"""The results as a table, in text and in Markdown."""

import statistics
from typing import Any

Record = dict[str, Any]

FILE_NAME = "table.md"

COLUMNS = [
    "gradients summed in",
    "test accuracy",
    "training loss",
    "rounds to zero",
    "sum's error",
    "wire bytes/step",
    "of FP32",
]

CAPTION = """\
Test accuracy: mean +- standard deviation over the seeds, after the last epoch; training loss: its
mean in that epoch.
Rounds to zero: share of the non-zero gradient values of single nodes that the cast makes zero.
Sum's error: distance of the summed gradient from the same sum in FP32, relative to its norm.
Wire bytes/step: sent by rank 0 in one step, headers and scale exponents included; the last column
compares them with FP32 gradients in an all-reduce that sends 2 (P-1)/P times their size. With kahan
and several nodes on a rank the first half of the way carries the compensation, too.
ranks-: one gradient per rank; -ef: with error feedback, where the sum's error is that of single
steps, and what they lose comes later. -majority: the update is the sign of the vote (signSGD).
A dash: not measured (plain DDP keeps its gradients to itself; one rank sends nothing; a vote is no
sum; with error feedback it is not the gradient alone that is cast)."""


def rows(records: list[Record]) -> list[Record]:
    """One record for each configuration, in the order of the runs."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        if record["record"] == "run":
            runs.setdefault(record["configuration"], []).append(record)
    return [_row(name, of_name) for name, of_name in runs.items()]


def _row(name: str, runs: list[Record]) -> Record:
    accuracies = [run["test_accuracy"] for run in runs]
    return {
        "configuration": name,
        "seeds": len(runs),
        "test_accuracy_mean": statistics.fmean(accuracies),
        "test_accuracy_std": statistics.stdev(accuracies) if len(runs) > 1 else None,
        "test_accuracies": accuracies,
        "train_loss": _mean(runs, "train_loss"),
        "rounded_to_zero": _mean(runs, "rounded_to_zero"),
        "gradient_error": _mean(runs, "gradient_error"),
        "wire_bytes_per_step": _mean(runs, "wire_bytes_per_step"),
        "wire_ratio": _mean(runs, "wire_ratio"),
    }


def _mean(runs: list[Record], key: str) -> float | None:
    values = [run[key] for run in runs]
    return None if None in values else statistics.fmean(values)


def text(records: list[Record]) -> str:
    """For the terminal."""
    cells = [COLUMNS, *(_cells(row) for row in rows(records))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(_aligned(line, widths)) for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(records: list[Record]) -> str:
    """For a README: what was run, the table, what its columns mean."""
    lines = [_markdown_line(COLUMNS), "| :-- " + "| --: " * (len(COLUMNS) - 1) + "|"]
    lines += [_markdown_line(_cells(row)) for row in rows(records)]
    return "\n".join([headline(records[0]), "", *lines, "", CAPTION, ""])


def headline(header: Record) -> str:
    """One line about the set-up."""
    seeds = header["seeds"]
    return (
        f"{header['dataset']}, {header['parameters']:,} parameters, {header['epochs']} epochs "
        f"({header['total_steps']} steps), {header['ranks']} ranks x {header['nodes']} emulated "
        f"nodes x {header['micro_batch']} images, {seeds} seed{'s' if seeds > 1 else ''}"
    )


def _cells(row: Record) -> list[str]:
    spread = row["test_accuracy_std"]
    accuracy = _percent(row["test_accuracy_mean"], 2)
    wire_bytes = row["wire_bytes_per_step"]
    return [
        row["configuration"],
        accuracy if spread is None else f"{accuracy} +- {100 * spread:.2f}",
        "-" if row["train_loss"] is None else f"{row['train_loss']:.4f}",
        _percent(row["rounded_to_zero"], 2),
        _percent(row["gradient_error"], 2),
        f"{round(wire_bytes):,}" if wire_bytes else "-",
        _percent(row["wire_ratio"], 1),
    ]


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    first, *rest = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
