"""Error against bytes: how much accuracy each format gives for the bits that it sends."""

from __future__ import annotations

from collections import defaultdict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from cpdperf.plot.contenders import OWN, variant_of, varying_choices, wire_text
from cpdperf.plot.placement import Point, label_points
from cpdperf.plot.style import BLACK, COLOURS, LARGE, NORMAL, PALE, SMALL, WIDTH, plain
from cpdperf.plot.units import ERROR_AXIS, size_text
from cpdperf.results import Results, ResultsError, Row, bits_per_value

TICKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
SPARSE_HEIGHT, HEIGHT_PER_POINT, MOST_HEIGHT = 3.2, 0.08, 6.2  # inches of a panel
BEST = "no other format has less error with these bits or fewer"
# Beginnings of the formats' names; the first that fits decides.
FAMILIES = {
    "mx": "microscaling (mx...)",
    "bfp": "block floating point (bfpK)",
    "int": "integers with a scale (intK)",
    "sign": "sign",
    "e": "small floats (eXmY)",
    "": "plain types",
}
FAMILY_MARKERS = ("D", "s", "^", "X", "o", "P")


def family_of(wire: str) -> str:
    return next(name for beginning, name in FAMILIES.items() if wire.startswith(beginning))


def measured_rows(results: Results) -> list[Row]:
    """Our own rows of the largest size and number of ranks whose error and bytes are known."""
    known = [row for row in results.rows if _is_known(row)]
    if not known:
        raise ResultsError(
            f"{results.path}: no row of our own has wire_bytes and a rel_rms above 0; expected a "
            "run of cpd-allreduce-perf on two or more ranks with --check of at least 1"
        )
    key = max((row.size, row.ranks) for row in known)
    chosen = [row for row in known if (row.size, row.ranks) == key]
    # The error does not depend on the network: one of them is enough.
    return [row for row in chosen if row.network == chosen[0].network]


def _is_known(row: Row) -> bool:
    return row.library == OWN and bool(row.rel_rms) and bits_per_value(row) is not None


def accuracy_figure(rows: list[Row]) -> Figure:
    """A panel for each way to sum, with the same axes."""
    variants = _by_variant(rows)
    crowd = max(len(members) for members in variants.values())
    height = min(MOST_HEIGHT, SPARSE_HEIGHT + HEIGHT_PER_POINT * crowd)
    figure = Figure(figsize=(WIDTH, 0.8 + height * len(variants)), layout="constrained")
    first = rows[0]
    figure.suptitle(
        f"Error of the sum over the bits sent: {size_text(first.size)}, {first.ranks} ranks",
        fontsize=LARGE,
    )
    shown = list(figure.subplots(len(variants), 1, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (variant, members) in zip(shown, variants.items(), strict=True):
        _draw(axes, members)
        axes.set_title(variant, fontsize=NORMAL)
    _scale(shown, rows)
    shown[0].legend(fontsize=SMALL, frameon=False, loc="lower left")
    for axes, members in zip(shown, variants.values(), strict=True):
        label_points(axes, [_point(row) for row in members], SMALL)
    return figure


def _by_variant(rows: list[Row]) -> dict[str, list[Row]]:
    choices = varying_choices(rows)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[variant_of(row, choices)].append(row)
    return found


def best_rows(rows: list[Row]) -> list[Row]:
    """Those that no other row beats with as few bits, by bits."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (_bits(row), row.rel_rms or 0)):
        if not best or (row.rel_rms or 0) < (best[-1].rel_rms or 0):
            best.append(row)
    return best


def _draw(axes: Axes, rows: list[Row]) -> None:
    best = best_rows(rows)
    axes.step(
        [_bits(row) for row in best],
        [row.rel_rms for row in best],
        where="post",
        color=PALE,
        linewidth=1.2,
        zorder=1,
        label=BEST,
    )
    for i, name in enumerate(FAMILIES.values()):
        members = [row for row in rows if family_of(row.wire) == name]
        if members:
            axes.scatter(
                [_bits(row) for row in members],
                [row.rel_rms for row in members],
                s=32,
                marker=FAMILY_MARKERS[i],
                color=_colour(members[0]),
                edgecolor="white",
                linewidth=0.4,
                label=name,
                zorder=3,
            )


def _bits(row: Row) -> float:
    bits = bits_per_value(row)
    assert bits is not None  # measured_rows left the others out
    return bits


def _colour(row: Row) -> str:
    i = list(FAMILIES.values()).index(family_of(row.wire))
    return (*COLOURS[:5], BLACK)[i]


def _point(row: Row) -> Point:
    return Point(_bits(row), row.rel_rms or 0, wire_text(row.wire), _colour(row))


def _scale(shown: list[Axes], rows: list[Row]) -> None:
    bits = [_bits(row) for row in rows]
    for axes in shown:
        plain(axes)
        axes.set_ylabel("relative RMS error of the sum", fontsize=NORMAL)
    axes.set_xlabel("bits sent per value, scales and exponents with them", fontsize=NORMAL)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(min(bits) / 1.25, max(bits) * 1.2)
    axes.set_ylim(min(r.rel_rms or 1 for r in rows) / 3, max(r.rel_rms or 0 for r in rows) * 2)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_formatter(ERROR_AXIS)
    axes.yaxis.set_minor_locator(NullLocator())
