"""Draws where `automatic` is slower than MPI's own all-reduce: sizes, ranks and networks.

A panel for each network and format; each cell is one size and number of ranks. Its number and
colour are the time of `automatic` over that of MPI_Allreduce in the same launches; a thick frame is
a broken promise, a question mark one that the interval leaves open.
"""

from __future__ import annotations

import math

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cpdperf.plot.contenders import network_text
from cpdperf.plot.pictures import Picture
from cpdperf.plot.style import LARGE, NORMAL, SMALL
from cpdperf.plot.units import size_text
from cpdperf.results import Results, ResultsError
from cpdperf.sweep.never_slower import BROKEN, MOST_SLOWER, MOST_SLOWER_US, OPEN, Cell, cells

NAME = "never-slower"
SHORT = "where automatic is slower than MPI"
EPILOG = """\
examples:
  perf/sweep never-slower --run-dir runs/never-slower
  perf/plot never-slower runs/never-slower/sweep.json --out never-slower.png
"""
MAP = colormaps["RdBu_r"]  # also for the colour-blind; white is as fast as MPI
SCALE = Normalize(-1, 1)  # of log2: half the time to twice the time
TICKS = (0.5, 0.71, 1, 1.41, 2)
SHORT_NAMES = {"native": "MPI", "halving_doubling": "h-d", "hierarchical": "hier"}
DARK = 0.7  # of the scale: text on it is white
FRAME = {BROKEN: {"edgecolor": "black", "linewidth": 2.4}}
PLAIN_FRAME = {"edgecolor": "white", "linewidth": 1.0}
FOOTNOTE = (
    f"time of automatic over that of MPI_Allreduce in FP32, and what was taken (MPI: MPI's own; *: "
    f"not compressed).\nBlack frame: the promise is broken: more than {MOST_SLOWER:g} times and "
    f"{MOST_SLOWER_US:g} us slower, both by the 95 % interval.  ?: the interval does not tell."
)


def picture(results: Results) -> Picture:
    found = cells(results.document)
    if not found:
        raise ResultsError(
            f"{results.path}: has no rows of automatic beside Open MPI's default; expected what"
            " perf/sweep never-slower writes"
        )
    broken = sum(one.verdict == BROKEN for one in found)
    return Picture(
        NAME,
        "automatic beside MPI_Allreduce",
        FOOTNOTE,
        f"A map of {len(found)} cells, of which {broken} break the promise.",
        lambda: never_slower_figure(found),
    )


def never_slower_figure(found: list[Cell]) -> Figure:
    """Networks below each other, formats beside each other."""
    networks = list(dict.fromkeys(one.network for one in found))
    wires = list(dict.fromkeys(one.wire for one in found))
    sizes = sorted({one.size for one in found})
    ranks = sorted({one.ranks for one in found})
    width = 1.6 + 0.62 * len(sizes) * len(wires)
    height = 1.7 + len(networks) * (0.55 + 0.42 * len(ranks))
    figure = Figure(figsize=(max(width, 7.0), height), layout="constrained")
    figure.suptitle("automatic beside MPI_Allreduce: is it anywhere slower?", fontsize=LARGE)
    grid = figure.subplots(len(networks), len(wires), squeeze=False, sharex=True, sharey=True)
    for row, network in zip(grid, networks, strict=True):
        for axes, wire in zip(row, wires, strict=True):
            panel = [one for one in found if (one.network, one.wire) == (network, wire)]
            draw_panel(axes, panel, sizes, ranks)
            rate = {"1gbit": 1000, "10gbit": 10_000, "100mbit": 100}.get(network)
            axes.set_title(f"{network_text(network, rate)}, {wire} asked for", fontsize=NORMAL)
        row[0].set_ylabel("ranks", fontsize=NORMAL)
    add_scale(figure, grid)
    figure.supxlabel(f"size of the vector\n{FOOTNOTE}", fontsize=SMALL)
    return figure


def draw_panel(axes: Axes, panel: list[Cell], sizes: list[int], ranks: list[int]) -> None:
    # Frames of broken cells lie above those of their neighbours.
    for one in sorted(panel, key=lambda cell: cell.verdict == BROKEN):
        draw_cell(axes, sizes.index(one.size), ranks.index(one.ranks), one)
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(-0.5, len(ranks) - 0.5)
    axes.set_xticks(range(len(sizes)), [size_text(size) for size in sizes], rotation=35)
    axes.set_yticks(range(len(ranks)), map(str, ranks))
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)


def draw_cell(axes: Axes, x: int, y: int, one: Cell) -> None:
    colour = MAP(SCALE(math.log2(one.ratio)))
    frame = FRAME.get(one.verdict, PLAIN_FRAME)
    name = f"{one.network} {one.ranks} {one.size} {one.wire}"
    axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=colour, gid=name, **frame))
    text = "white" if abs(math.log2(one.ratio)) > DARK else "black"
    axes.text(x, y, cell_text(one), ha="center", va="center", fontsize=6.5, color=text)


def cell_text(one: Cell) -> str:
    doubt = "?" if one.verdict == OPEN else ""
    plain = "*" if one.wire != "fp32" and not one.compressed else ""
    return f"{one.ratio:.2f}{doubt}\n{SHORT_NAMES.get(one.taken, one.taken)}{plain}"


def add_scale(figure: Figure, grid) -> None:
    bar = figure.colorbar(
        ScalarMappable(SCALE, MAP), ax=grid, ticks=[math.log2(tick) for tick in TICKS], aspect=40
    )
    bar.ax.set_yticklabels([f"{tick:g}" for tick in TICKS], fontsize=SMALL)
    bar.set_label("times MPI's time (logarithmic)", fontsize=SMALL)
