"""Gain over the best FP32 against size: in one group format by format, and across groups."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator

from cpdperf.plot.contenders import Group, contenders_of, fastest_by_size, wire_text
from cpdperf.plot.placement import label_line_ends
from cpdperf.plot.style import (
    BLACK,
    NORMAL,
    PALE,
    SMALL,
    Styles,
    grid_shape,
    legend_below,
    new_figure,
    panels,
    size_axis,
)
from cpdperf.plot.units import GAIN_AXIS
from cpdperf.results import Row

FLOOR = 0.1  # a loss that is worse than this leaves the picture: how much does not matter
SHADED = "#f1f1f1"
OTHERS = "the other formats, each at its fastest"


def gain_figure(group: Group, styles: Styles) -> Figure:
    """A panel for each format with all its ways to sum; behind them the other formats in grey."""
    rows = [row for row in group.rows if row.gain is not None]
    wires = [wire for wire in styles.wires if any(row.wire == wire for row in rows)]
    height = 1.1 + 2.3 * grid_shape(len(wires))[0]
    figure = new_figure(height, f"Gain over the best FP32: {group.title}")
    shown = panels(figure, len(wires))
    for axes, wire in zip(shown, wires, strict=True):
        for other in wires:
            if other not in (wire, "fp32"):
                _draw_pale(axes, [row for row in rows if row.wire == other])
        _draw_contenders(axes, [row for row in rows if row.wire == wire], styles)
        axes.set_title(wire_text(wire), fontsize=NORMAL, color=styles.colour(wire))
    _scale(shown, rows)
    legend_below(figure, shown, neutral=styles.variants)
    return figure


def overview_figure(groups: list[Group], names: list[str], title: str, styles: Styles) -> Figure:
    """A panel for each group; of each format the way to sum that is fastest at that size."""
    figure = new_figure(0.9 + 3.2 * grid_shape(len(groups))[0], title)
    shown = panels(figure, len(groups))
    rows = []
    for axes, group, name in zip(shown, groups, names, strict=True):
        rows += _draw_fastest(axes, group, styles)
        axes.set_title(name, fontsize=NORMAL)
    _scale(shown, rows)
    for axes in shown:
        axes.margins(x=0.03)
        label_line_ends(axes, SMALL)
    legend_below(figure, shown, columns=6)
    return figure


def _draw_pale(axes: Axes, rows: list[Row]) -> None:
    best = fastest_by_size(rows).values()
    sizes, gains = [row.size for row in best], [row.gain for row in best]
    axes.plot(sizes, gains, color=PALE, linewidth=0.8, zorder=1, label=OTHERS)


def _draw_contenders(axes: Axes, rows: list[Row], styles: Styles) -> None:
    for contender in contenders_of(rows, styles.choices):
        look = styles.of_contender(contender)
        _draw(axes, contender.rows, contender.variant, look)


def _draw_fastest(axes: Axes, group: Group, styles: Styles) -> list[Row]:
    """FP32 is left out: at its fastest it is the line at 1. Returns what was drawn."""
    drawn = []
    for wire in styles.wires:
        rows = [row for row in group.rows if row.wire == wire and row.gain is not None]
        if rows and wire != "fp32":
            best = list(fastest_by_size(rows).values())
            _draw(axes, best, wire_text(wire), styles.of_wire(wire))
            drawn += best
    return drawn


def _draw(axes: Axes, rows: list[Row], label: str, look: dict) -> None:
    sizes = [row.size for row in rows]
    axes.plot(sizes, [row.gain for row in rows], label=label, **look)
    known = [row for row in rows if row.gain_low is not None and row.gain_high is not None]
    axes.fill_between(
        [row.size for row in known],
        [row.gain_low for row in known],
        [row.gain_high for row in known],
        color=look["color"],
        alpha=0.2,
        linewidth=0,
    )


def _scale(shown: list[Axes], rows: list[Row]) -> None:
    """A doubling is as far as a halving; the part without gain is shaded."""
    lowest = min(row.gain for row in rows if row.gain)
    highest = max(row.gain for row in rows if row.gain)
    bottom, top = min(0.7, max(FLOOR, lowest / 1.15)), max(1.5, highest * 1.15)
    for axes in shown:
        size_axis(axes, (row.size for row in rows))
        axes.axhspan(bottom / 2, 1, color=SHADED, zorder=0)
        axes.axhline(1, color=BLACK, linewidth=0.9, zorder=1.5)
        _say_no_gain(axes)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("time of the best FP32 / time", fontsize=SMALL)
    axes.set_yscale("log", base=2)
    axes.set_ylim(bottom, top)
    between = (1,) if top > 6 * bottom else (1, 1.25, 1.5, 1.75)
    axes.yaxis.set_major_locator(LogLocator(base=2, subs=between))
    axes.yaxis.set_major_formatter(GAIN_AXIS)
    axes.yaxis.set_minor_locator(NullLocator())


def _say_no_gain(axes: Axes) -> None:
    axes.text(
        0.985,
        0.02,
        "below 1: no gain",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=SMALL - 1,
        color="#404040",
        zorder=1.6,
        path_effects=[withStroke(linewidth=2, foreground=SHADED)],
    )
