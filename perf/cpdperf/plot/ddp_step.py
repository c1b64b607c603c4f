"""Draws what a training step of DistributedDataParallel takes by backend and wire format, how much
of it is communication that the computation does not hide, and the losses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdperf.plot.style import COLOURS, DASHES, NORMAL, SMALL, new_figure
from cpdperf.results import ResultsError, read_document

NAME = "ddp-step"
SHORT = "a training step by backend and format"
SCHEMA = "cpd-ddp-step/1"
EPILOG = """\
examples:
  perf/ddp-step -J step.json && perf/plot ddp-step step.json
"""
SMOOTHED = 5  # steps, of the losses


def read_step(path: Path) -> dict[str, Any]:
    """What perf/ddp-step -J has written."""
    document = read_document(path, SCHEMA, "written by perf/ddp-step -J")
    if not document.get("results"):
        raise ResultsError(f"{path}: no results; expected at least one")
    return document


def step_figure(document: dict[str, Any]) -> Figure:
    """Bars of the steps' times, and a curve of each one's losses."""
    millions = document["parameters"] / 1e6
    figure = new_figure(
        3.6,
        f"A training step: {millions:.0f} million parameters, {document['ranks']} ranks, "
        f"batch {document['batch']}",
    )
    times, losses = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_times(times, document["results"])
    _draw_losses(losses, document["results"])
    return figure


def _draw_times(axes: Axes, rows: list[dict[str, Any]]) -> None:
    names = [row["contender"] for row in rows]
    milliseconds = [row["seconds"] * 1e3 for row in rows]
    exposed = [max(0.0, row["exposed"] or 0.0) * 1e3 for row in rows]
    hidden = [whole - part for whole, part in zip(milliseconds, exposed, strict=True)]
    axes.barh(names, hidden, color=COLOURS[1], label="computation, and what it hides")
    axes.barh(names, exposed, left=hidden, color=COLOURS[0], label="exposed communication")
    for i, whole in enumerate(milliseconds):
        axes.annotate(f" {whole:.0f}", (whole, i), va="center", fontsize=SMALL)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("ms of a step, median", fontsize=SMALL)
    axes.legend(fontsize=SMALL, loc="lower right")


def _draw_losses(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for i, row in enumerate(rows):
        if row["contender"] == "alone":  # each rank trains for itself
            continue
        losses = row["losses"]
        smooth = [
            sum(losses[max(0, j + 1 - SMOOTHED) : j + 1]) / min(j + 1, SMOOTHED)
            for j in range(len(losses))
        ]
        axes.plot(
            smooth,
            color=COLOURS[i % len(COLOURS)],
            ls=DASHES[i % len(DASHES)],
            label=row["contender"],
        )
    axes.set_title(f"loss, mean of {SMOOTHED} steps", fontsize=NORMAL)
    axes.set_xlabel("step", fontsize=SMALL)
    axes.legend(fontsize=SMALL)
