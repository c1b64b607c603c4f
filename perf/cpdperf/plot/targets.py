"""Draws what perf/sweep targets found: each target with its interval, and whether it is met.

A line for each target: the value found over the value asked for, with its 95 percent interval; at 1
and to the right of it the target is met. The price of `exact` is not drawn.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdperf.plot.contenders import network_text
from cpdperf.plot.pictures import Picture
from cpdperf.plot.style import LARGE, NORMAL, SMALL, WIDTH
from cpdperf.plot.units import size_text
from cpdperf.results import Results, ResultsError
from cpdperf.sweep.matrix import NETWORKS
from cpdperf.sweep.targets import MET, MISSED, OPEN, UNKNOWN, Finding, findings

NAME = "targets"
SHORT = "what is met of the targets"
EPILOG = """\
examples:
  perf/sweep targets --run-dir runs/targets
  perf/plot targets runs/targets/sweep.json --out targets.png
"""
LOOKS = {MET: ("#0072B2", "o"), OPEN: ("#E69F00", "D"), MISSED: ("#D55E00", "X")}
LABELS = {MET: "met", OPEN: "open: the interval holds the target", MISSED: "missed"}


def picture(results: Results) -> Picture:
    found = [one for one in findings(results.document) if one.verdict != UNKNOWN]
    if not found:
        raise ResultsError(
            f"{results.path}: has no row of any target; expected what perf/sweep targets writes"
        )
    met = sum(one.verdict == MET for one in found)
    return Picture(
        NAME,
        "Targets",
        "The value found over the value asked for, with its 95 % bootstrap interval.",
        f"{met} of {len(found)} targets are met.",
        lambda: targets_figure(found),
    )


def targets_figure(found: list[Finding]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.6 + 0.26 * len(found)), layout="constrained")
    figure.suptitle("What compression gains, beside what it must gain", fontsize=LARGE)
    axes = figure.subplots()
    axes.axvline(1.0, color="black", linewidth=1.0, zorder=1)
    for y, one in enumerate(found):
        draw_line(axes, y, one)
    label(axes, found)
    return figure


def draw_line(axes: Axes, y: int, one: Finding) -> None:
    least = one.target.least
    colour, marker = LOOKS[one.verdict]
    axes.plot([one.low / least, one.high / least], [y, y], color=colour, linewidth=2.2)
    axes.plot(one.value / least, y, marker, color=colour, ms=6, label=LABELS[one.verdict])


def target_text(one: Finding) -> str:
    target = one.target
    network = network_text(target.network, NETWORKS[target.network])
    scaling = "" if target.scaling == "none" else f" {target.scaling}"
    return (
        f"{network}, {target.ranks} ranks, {size_text(target.size)}: {target.wire}{scaling}"
        f"{'' if target.is_gain else ', part of the bound'}"
    )


def label(axes: Axes, found: list[Finding]) -> None:
    axes.set_yticks(range(len(found)), [target_text(one) for one in found], fontsize=SMALL)
    axes.set_ylim(len(found) - 0.5, -0.5)
    right = axes.secondary_yaxis("right")
    values = [f"{one.value:.3g}, asked {one.target.least:.3g}" for one in found]
    right.set_yticks(range(len(found)), values, fontsize=SMALL)
    axes.set_xlabel("found / asked for (gains are over the best FP32)", fontsize=NORMAL)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    for side in (axes, right):
        side.spines[:].set_visible(False)
        side.tick_params(axis="y", length=0)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=SMALL,
        frameon=False,
    )  # fmt: skip
