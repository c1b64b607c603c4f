"""Error against ranks: how the error of a sum grows with the number of casts on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from cpdperf.plot.style import COLOURS, DASHES, MARKERS, NORMAL, SMALL, legend_below, new_figure
from cpdperf.plot.style import panels as new_panels
from cpdperf.plot.units import ERROR_AXIS
from cpdperf.results import ResultsError, read_document

SCHEMA = "cpd-error-growth/1"
# How often a value of N ranks is cast at most.
CASTS = {
    "direct": "direct: 2 casts",
    "tree": "tree: about log2 N + 1",
    "halving_doubling": "halving and doubling: log2 N + 1",
    "ring": "ring: N",
}


def read_growth(path: Path) -> dict[str, Any]:
    """What cpd-error-growth -J has written."""
    document = read_document(path, SCHEMA, "written by cpd-error-growth -J")
    if not document.get("results"):
        raise ResultsError(f"{path}: no results; expected at least one")
    return document


def growth_figure(document: dict[str, Any]) -> Figure:
    """A panel for each format, a line for each algorithm."""
    rows = document["results"]
    wires = list(dict.fromkeys(row["wire"] for row in rows))
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    figure = new_figure(
        4.2, f"Error of the sum against double precision, '{document['accumulate']}'"
    )
    shown = new_panels(figure, len(wires))
    for axes, wire in zip(shown, wires, strict=True):
        axes.set_title(wire, fontsize=NORMAL)
        for i, algorithm in enumerate(algorithms):
            members = [row for row in rows if (row["wire"], row["algorithm"]) == (wire, algorithm)]
            _draw(axes, members, algorithm, i)
        _scale(axes, sorted({row["ranks"] for row in rows}))
    shown[0].set_ylabel("relative RMS error of the sum", fontsize=NORMAL)
    legend_below(figure, shown)
    return figure


def _draw(axes: Axes, rows: list[dict[str, Any]], algorithm: str, i: int) -> None:
    axes.plot(
        [row["ranks"] for row in rows],
        [row["rel_rms"] for row in rows],
        color=COLOURS[i % len(COLOURS)],
        ls=DASHES[i % len(DASHES)],
        marker=MARKERS[i % len(MARKERS)],
        markersize=5,
        label=CASTS.get(algorithm, algorithm),
    )


def _scale(axes: Axes, ranks: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("ranks N", fontsize=SMALL)
    axes.xaxis.set_major_locator(FixedLocator(ranks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ERROR_AXIS)
    axes.yaxis.set_minor_locator(NullLocator())
