"""Time against size: a panel for each format, with the time that its bytes need on the link."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from cpdperf.plot.contenders import Group, contenders_of, fastest_by_size, wire_text
from cpdperf.plot.style import (
    BLACK,
    NORMAL,
    SMALL,
    Styles,
    grid_shape,
    legend_below,
    new_figure,
    panels,
    size_axis,
)
from cpdperf.plot.units import TIME_AXIS
from cpdperf.results import Row

BOUND = (0, (1, 2))
BOUND_LABEL = "bound: its bytes at the link's rate"


def time_figure(group: Group, styles: Styles) -> Figure:
    wires = [wire for wire in styles.wires if any(row.wire == wire for row in group.rows)]
    height = 1.1 + 2.3 * grid_shape(len(wires))[0]
    figure = new_figure(height, f"Time of an all-reduce: {group.title}")
    shown = panels(figure, len(wires))
    best = fastest_by_size(row for row in group.rows if row.wire == "fp32")
    for axes, wire in zip(shown, wires, strict=True):
        rows = [row for row in group.rows if row.wire == wire]
        if wire != "fp32" and best:
            _draw_best(axes, list(best.values()))
        _draw_bound(axes, rows, styles.colour(wire))
        _draw_contenders(axes, rows, styles)
        axes.set_title(wire_text(wire), fontsize=NORMAL, color=styles.colour(wire))
    _scale(shown, group.rows)
    legend_below(figure, shown, neutral=[*styles.variants, BOUND_LABEL])
    return figure


def _draw_best(axes: Axes, rows: list[Row]) -> None:
    sizes, times = [row.size for row in rows], [row.time_us for row in rows]
    axes.plot(sizes, times, color=BLACK, linewidth=0.9, label="best FP32", **_dash_if_alone(sizes))


def _draw_bound(axes: Axes, rows: list[Row], colour: str) -> None:
    """The smallest of the ways to sum; nothing below it is possible with these bytes."""
    least: dict[int, float] = {}
    for row in rows:
        if row.bound_us:
            least[row.size] = min(row.bound_us, least.get(row.size, row.bound_us))
    if least:
        sizes = sorted(least)
        times = [least[size] for size in sizes]
        look = {"color": colour, "ls": BOUND, "linewidth": 1.2} | _dash_if_alone(sizes)
        axes.plot(sizes, times, label=BOUND_LABEL, **look)


def _dash_if_alone(sizes: list[int]) -> dict[str, Any]:
    """A line of a single point would not be seen."""
    return {"marker": "_", "markersize": 14} if len(sizes) == 1 else {}


def _draw_contenders(axes: Axes, rows: list[Row], styles: Styles) -> None:
    for contender in contenders_of(rows, styles.choices):
        look = styles.of_contender(contender)
        sizes = [row.size for row in contender.rows]
        axes.plot(sizes, [row.time_us for row in contender.rows], label=contender.variant, **look)
        axes.fill_between(
            sizes,
            [row.time_us_low for row in contender.rows],
            [row.time_us_high for row in contender.rows],
            color=look["color"],
            alpha=0.2,
            linewidth=0,
        )


def _scale(shown: list[Axes], rows: list[Row]) -> None:
    """The bounds may leave the picture below: they are far under what small sizes take."""
    for axes in shown:
        size_axis(axes, (row.size for row in rows))
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("time, median", fontsize=SMALL)
    axes.set_yscale("log")
    bottom, top = min(r.time_us_low for r in rows) / 2, max(r.time_us_high for r in rows) * 1.5
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if top > 100 * bottom else (1, 2, 5)))
    axes.yaxis.set_major_formatter(TIME_AXIS)
    axes.yaxis.set_minor_locator(NullLocator())
