"""Colours, markers and dashes: formats by colour, ways to sum by dash, other libraries in grey.

Everything is told apart twice, so that the pictures work in grey and for the colour-blind, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cpdperf.plot.contenders import (
    OWN,
    Contender,
    contenders_of,
    varying_choices,
    wires_of,
)
from cpdperf.plot.units import size_text
from cpdperf.results import Row

WIDTH = 9.0  # inches: shown 900 pixels wide, a point of the font is 1.4 pixels
DPI = 150
SMALL, NORMAL, LARGE = 7.5, 8.5, 10

# Okabe and Ito's colours but yellow, which is too light for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
BLACK = "#000000"
PALE = "#c9c9c9"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2, 2, 2, 2, 2)))
GREYS = ("#4d4d4d", "#808080", "#a0a0a0", "#6a6a6a")
GREY_DASHES = ((0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2, 2)))
GREY_MARKERS = ("x", "+", "1", "2", "3", "4", "|")


class Styles:
    """The look of every format, way to sum and library of a file: the same in all its pictures."""

    def __init__(self, rows: list[Row]) -> None:
        self.choices = varying_choices(rows)
        self.wires = wires_of(rows)
        contenders = contenders_of(rows, self.choices)
        self.variants = _unique(c.variant for c in contenders if c.is_own)
        self.libraries = _unique(c.library for c in contenders if not c.is_own)
        self._coloured = [wire for wire in self.wires if wire != "fp32"]

    def colour(self, wire: str) -> str:
        if wire == "fp32":
            return BLACK
        round_, i = divmod(self._coloured.index(wire), len(COLOURS))
        return COLOURS[i] if round_ == 0 else to_hex(shade(COLOURS[i]))

    def marker(self, wire: str) -> str:
        return MARKERS[self.wires.index(wire) % len(MARKERS)]

    def of_wire(self, wire: str) -> dict[str, Any]:
        """A line that stands for a format, whatever the way to sum."""
        return {"color": self.colour(wire), "marker": self.marker(wire), "ls": "-"} | _LINE

    def of_contender(self, contender: Contender) -> dict[str, Any]:
        """A line that stands for one way to sum, where the panel says the format."""
        if contender.library != OWN:
            i = self.libraries.index(contender.library)
            dash, marker = GREY_DASHES[i % len(GREY_DASHES)], GREY_MARKERS[i % len(GREY_MARKERS)]
            return {"color": GREYS[i % len(GREYS)], "ls": dash, "marker": marker} | _LINE
        i = self.variants.index(contender.variant)
        look = {"ls": DASHES[i % len(DASHES)], "marker": MARKERS[i % len(MARKERS)]}
        return {"color": self.colour(contender.wire)} | look | _LINE


_LINE = {"linewidth": 1.5, "markersize": 3.5}


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def shade(colour: str) -> tuple[float, ...]:
    """A darker tone: for the seventh format and those after it, and for text."""
    return tuple(0.5 * part for part in to_rgb(colour))


def tint(colour: str, share: float = 0.5) -> tuple[float, ...]:
    """The colour mixed with white, light enough for black text on it."""
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def new_figure(height: float, title: str) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(title, fontsize=LARGE)
    return figure


def grid_shape(count: int) -> tuple[int, int]:
    """Rows and columns for so many panels: up to three beside each other."""
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    return -(-count // columns), columns


def panels(figure: Figure, count: int) -> list[Axes]:
    """A grid of axes with the same scales; cells that are not needed stay empty."""
    rows, columns = grid_shape(count)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[:count]:
        plain(axes)
        axes.xaxis.set_tick_params(labelbottom=axes in grid[max(0, count - columns) : count])
    return grid[:count]


def plain(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def size_axis(axes: Axes, sizes: Iterable[int], most: int = 5) -> None:
    """A logarithmic axis of bytes with at most so many ticks, at sizes that were measured."""
    found = sorted(set(sizes))
    step = -(-len(found) // most)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(found[::step]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(value)))
    if axes.xaxis.get_tick_params()["labelbottom"]:
        axes.set_xlabel("size of the vector", fontsize=SMALL)


def legend_below(
    figure: Figure, axes: Iterable[Axes], neutral: Iterable[str] = (), columns: int = 4
) -> None:
    """One legend for all panels, each name once; neutral names stand for lines of any colour."""
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    legend = figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        fontsize=SMALL,
        frameon=False,
        handlelength=3.2,
    )
    for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
        if text.get_text() in neutral:
            line.set_color(BLACK)
