"""Where each format wins: a map with the fastest way to sum in each cell, by size and network."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cpdperf.plot.contenders import Group, variant_of, wire_text
from cpdperf.plot.style import LARGE, NORMAL, SMALL, WIDTH, Styles, tint
from cpdperf.plot.units import error_text, gain_text, size_text
from cpdperf.results import Row

CELL_HEIGHT = 0.78  # inches
FP32_FACE, FP32_HATCH = "#ffffff", "#b5b5b5"
FOOTNOTE = (
    "Each cell: the fastest format, how it was summed, its gain over the best FP32, its relative "
    "RMS error.\nHatched: plain FP32 is fastest.  ?: the interval of the gain holds 1, so FP32 may "
    "be as fast."
)
MOST_COLUMNS = 10  # more sizes than this make the picture wider


def winner(rows: list[Row], error_limit: float | None = None) -> Row | None:
    """The fastest; with a limit among those whose error is known and not above it, and FP32."""
    if error_limit is not None:
        rows = [row for row in rows if is_within(row, error_limit)]
    return min(rows, key=lambda row: row.time_us, default=None)


def is_within(row: Row, error_limit: float) -> bool:
    return row.wire == "fp32" or (row.rel_rms is not None and row.rel_rms <= error_limit)


def is_certain(row: Row) -> bool:
    """Whether even the low end of the interval is a gain."""
    return row.gain_low is None or row.gain_low > 1


def winner_figure(
    groups: list[Group],
    names: list[str],
    title: str,
    styles: Styles,
    error_limit: float | None = None,
) -> Figure:
    """A row of cells for each group, the first one below, as on an axis."""
    sizes = sorted({row.size for group in groups for row in group.rows})
    width = WIDTH * max(1, len(sizes) / MOST_COLUMNS)
    figure = Figure(figsize=(width, 1.45 + CELL_HEIGHT * len(groups)), layout="constrained")
    figure.suptitle(title, fontsize=LARGE)
    axes = figure.subplots()
    for y, group in enumerate(groups):
        for x, size in enumerate(sizes):
            fastest = winner([row for row in group.rows if row.size == size], error_limit)
            if fastest is not None:
                _draw_cell(axes, x, y, fastest, styles)
    _label(axes, [size_text(size) for size in sizes], names)
    axes.set_xlabel(f"size of the vector\n\n{FOOTNOTE}", fontsize=NORMAL)
    return figure


def _draw_cell(axes: Axes, x: int, y: int, row: Row, styles: Styles) -> None:
    plain = row.wire == "fp32"
    face = {"facecolor": FP32_FACE, "edgecolor": FP32_HATCH, "hatch": "////"}
    if not plain:
        face = {"facecolor": tint(styles.colour(row.wire))}
    name = f"{row.wire} {row.network} {row.ranks} {row.size}"
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=0, gid=name, **face))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=2))
    lines = cell_lines(row, styles.choices)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if plain else None
    axes.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=SMALL, bbox=box)


def cell_lines(row: Row, choices: list[str]) -> list[str]:
    """What a cell says, a line each."""
    lines = [wire_text(row.wire), variant_of(row, choices)]
    if row.wire == "fp32":
        return lines
    if row.gain is not None:
        lines.append(gain_text(row.gain) + ("x" if is_certain(row) else "x ?"))
    if row.rel_rms is not None:
        lines.append(f"err {error_text(row.rel_rms)}")
    return lines


def _label(axes: Axes, columns: list[str], rows: list[str]) -> None:
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xticks(range(len(columns)), columns, fontsize=SMALL)
    axes.set_yticks(range(len(rows)), rows, fontsize=NORMAL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#fafafa")
