"""The map of winners by ranks and size, and time against ranks."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from cpdperf.plot.contenders import wire_text
from cpdperf.plot.style import (
    BLACK,
    COLOURS,
    DASHES,
    MARKERS,
    NORMAL,
    SMALL,
    grid_shape,
    legend_below,
    new_figure,
    panels,
    tint,
)
from cpdperf.plot.units import TIME_AXIS, size_text
from cpdperf.simulate.simulation import PLAIN, Record, Row, best_of, cell_lines, unique, winners_of

CELL_HEIGHT = 0.8  # inches
HATCH = "#b5b5b5"
MOST_TICKS = 6
FOOTNOTE = (
    "Each cell: the fastest format, its algorithm, its gain over the fastest FP32. Hatched: FP32 "
    "is fastest.\nPredicted from latency, links and codecs (cpd-simulate), not measured."
)


def network_text(record: Record, network: str) -> str:
    """The network and its hosts in words."""
    per_host = {row["ranks_per_host"] for row in record["results"] if row["network"] == network}
    if network == "host":
        return "one host"
    rate = network.replace("gbit", " Gbit/s").replace("mbit", " Mbit/s")
    return f"{rate}, {min(per_host)} rank{'s' if per_host != {1} else ''} on each host"


def winners_figure(record: Record, network: str) -> Figure:
    """A row of cells for each number of ranks, the fewest below, as on an axis."""
    sizes, ranks = sorted(unique(record, "size")), sorted(unique(record, "ranks"))
    title = f"What is predicted to be fastest: {network_text(record, network)}"
    figure = new_figure(1.45 + CELL_HEIGHT * len(ranks), title)
    axes = figure.subplots()
    for (row_ranks, size), row in winners_of(record, network).items():
        _draw_cell(axes, sizes.index(size), ranks.index(row_ranks), row, unique(record, "wire"))
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(-0.5, len(ranks) - 0.5)
    axes.set_xticks(range(len(sizes)), [size_text(size) for size in sizes], fontsize=SMALL)
    axes.set_yticks(range(len(ranks)), [f"{count:,}" for count in ranks], fontsize=SMALL)
    axes.set_xlabel(f"size of the vector in FP32\n\n{FOOTNOTE}", fontsize=NORMAL)
    axes.set_ylabel("ranks", fontsize=NORMAL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _draw_cell(axes: Axes, x: int, y: int, row: Row, wires: list[str]) -> None:
    plain = row["wire"] == PLAIN
    face = {"facecolor": "white", "edgecolor": HATCH, "hatch": "////"}
    if not plain:
        face = {"facecolor": tint(colour_of(row["wire"], wires))}
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=0, **face))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=2))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if plain else None
    text = "\n".join(cell_lines(row))
    axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, bbox=box)


def colour_of(wire: str, wires: list[str]) -> str:
    others = [name for name in wires if name != PLAIN]
    return BLACK if wire == PLAIN else COLOURS[others.index(wire) % len(COLOURS)]


def time_figure(record: Record, network: str) -> Figure:
    """A panel for each size, a line for each format with its fastest algorithm."""
    sizes = sorted(unique(record, "size"))
    title = f"Predicted time, fastest algorithm of each format: {network_text(record, network)}"
    figure = new_figure(1.1 + 2.6 * grid_shape(len(sizes))[0], title)
    shown = panels(figure, len(sizes))
    for axes, size in zip(shown, sizes, strict=True):
        _draw_times(axes, record, network, size)
        axes.set_title(size_text(size), fontsize=NORMAL)
    _scale(shown, sorted(unique(record, "ranks")))
    legend_below(figure, shown)
    return figure


def _draw_times(axes: Axes, record: Record, network: str, size: int) -> None:
    wires = unique(record, "wire")
    for i, wire in enumerate(wires):
        rows = best_of(record, network, size, wire)
        axes.plot(
            [row["ranks"] for row in rows],
            [row["time_us"] for row in rows],
            color=colour_of(wire, wires),
            marker=MARKERS[i % len(MARKERS)],
            ls=DASHES[i % len(DASHES)],  # formats of as many bits lie on each other
            linewidth=1.5,
            markersize=4,
            label=wire_text(wire),
        )


def _scale(shown: list[Axes], ranks: list[int]) -> None:
    for axes in shown:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(_spread(ranks)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(TIME_AXIS)
        if axes.xaxis.get_tick_params()["labelbottom"]:
            axes.set_xlabel("ranks", fontsize=SMALL)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("time of an all-reduce", fontsize=SMALL)


def _spread(ranks: list[int]) -> list[int]:
    """Those whose labels have room beside each other on a logarithmic axis."""
    room = math.log(ranks[-1] / ranks[0]) / MOST_TICKS
    kept = ranks[:1]
    for count in ranks[1:]:
        if math.log(count / kept[-1]) >= room:
            kept.append(count)
    return kept
