"""The results as a picture: `python -m training.figure FOLDER` draws a folder's log again."""

import math
import statistics
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from training import log, table

Record = dict[str, Any]
Curve = dict[int, list[float]]  # for each epoch a value of each seed

FILE_NAME = "curves.png"

# Okabe and Ito's colours, which people with colour blindness tell apart.
COLOURS = {
    "fp32": "#000000",
    "e4m3": "#0072B2",
    "e3m0": "#D55E00",
    "int2": "#CC79A7",
    "sign": "#E69F00",
}
OTHER_COLOUR = "#009E73"
LINES = {"none": ":", "rounded": "--", "kahan": "-.", "ef": "--"}

# Accuracies are drawn as errors on a logarithmic scale: from 98 to 99 percent is as far as from 96
# to 98, because both halve the number of wrong answers.
# The ticks where there is room, the most wanted first.
ACCURACY_TICKS = [0.5, 0.9, 0.99, 0.8, 0.95, 0.98, 0, 0.2, 0.6, 0.4, 0.7, 0.3, 0.1, 0.995, 0.998]
SMALLEST_ERROR = 0.001
LABEL_DISTANCE = 0.055  # between two labels, as a share of the axes' height
TICK_DISTANCES = {"y": 0.05, "x": 0.13}  # between two ticks, in the same way


def draw(records: list[Record], path: Path) -> None:
    """Above the curves over the epochs, below what each configuration came to and cost."""
    figure = Figure(figsize=(12.5, 9.5), layout="constrained")
    figure.suptitle(table.headline(records[0]), fontsize=11)
    above, below = figure.subfigures(2, 1, height_ratios=[1.3, 1])
    accuracy, loss = above.subplots(1, 2)
    _accuracy_panel(accuracy, records)
    _loss_panel(loss, records)
    _summary_panels(below.subplots(1, 3, sharey=True), table.rows(records))
    figure.savefig(path, dpi=130)


def _accuracy_panel(axes: Axes, records: list[Record]) -> None:
    axes.set_title("Test accuracy: mean and range of the seeds")
    axes.set_ylabel("test accuracy (scale: logarithm of the error)")
    axes.set_yscale("log")
    ends = _plot(axes, records, lambda record: _error(record["test_accuracy"]))
    axes.yaxis.set_inverted(True)
    _accuracy_ticks(axes.yaxis)
    _label_ends(axes, ends)


def _loss_panel(axes: Axes, records: list[Record]) -> None:
    axes.set_title("Training loss, mean of each epoch")
    axes.set_ylabel("cross-entropy")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    ends = _plot(axes, records, lambda record: record["train_loss"])
    _label_ends(axes, ends)


def _plot(axes: Axes, records: list[Record], value_of: Any) -> dict[str, float]:
    """A mean line and a band for each configuration; where the lines end."""
    ends = {}
    for name, curve in _curves(records, value_of).items():
        epochs = sorted(curve)
        mean = [statistics.fmean(curve[epoch]) for epoch in epochs]
        low, high = [min(curve[epoch]) for epoch in epochs], [max(curve[e]) for e in epochs]
        axes.plot(epochs, mean, **_line(name))
        axes.fill_between(epochs, low, high, color=_colour(name), alpha=0.1, linewidth=0)
        ends[name] = mean[-1]
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    return ends


def _curves(records: list[Record], value_of: Any) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for record in records:
        if record["record"] == "epoch" and record["train_loss"] is not None:
            curve = curves.setdefault(record["configuration"], {})
            curve.setdefault(record["epoch"], []).append(value_of(record))
    return curves


def _label_ends(axes: Axes, ends: dict[str, float]) -> None:
    """Names at the right of the lines, moved apart where they would lie on each other."""
    to_share = axes.transData + axes.transAxes.inverted()
    heights = {name: to_share.transform((1, value))[1] for name, value in ends.items()}
    names = sorted(heights, key=lambda name: heights[name])
    for name, place in zip(names, _apart([heights[name] for name in names]), strict=True):
        axes.annotate(
            name,
            xy=(1, heights[name]),
            xytext=(1.08, place),
            xycoords="axes fraction",
            color=_colour(name),
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _colour(name),
                "linewidth": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 1,
            },
        )


def _apart(heights: list[float]) -> list[float]:
    """Ascending heights, moved so that they are LABEL_DISTANCE apart and between 0 and 1."""
    stacks: list[tuple[float, int]] = []  # centre and size
    for height in heights:
        stacks.append((height, 1))
        while len(stacks) > 1 and _bottom(*stacks[-1]) < _top(*stacks[-2]) + LABEL_DISTANCE:
            (upper, m), (lower, n) = stacks.pop(), stacks.pop()
            stacks.append(((upper * m + lower * n) / (m + n), m + n))
    return [
        _bottom(centre, size) + place * LABEL_DISTANCE
        for centre, size in stacks
        for place in range(size)
    ]


def _bottom(centre: float, size: int) -> float:
    """The lowest label of a stack that keeps inside the axes."""
    half = (size - 1) / 2 * LABEL_DISTANCE
    return max(0, min(centre, 1 - half) - half)


def _top(centre: float, size: int) -> float:
    return _bottom(centre, size) + (size - 1) * LABEL_DISTANCE


def _summary_panels(panels: list[Axes], rows: list[Record]) -> None:
    accuracy, zeros, sent = panels
    names = [row["configuration"] for row in rows]
    accuracy.set_title("Test accuracy after the last epoch")
    accuracy.set_xscale("log")
    for place, row in enumerate(rows):
        errors = [_error(value) for value in row["test_accuracies"]]
        colour = _colour(row["configuration"])
        accuracy.plot(errors, [place] * len(errors), "o", color=colour, alpha=0.4, markersize=5)
        accuracy.plot(_error(row["test_accuracy_mean"]), place, "|", color=colour, markersize=16)
    accuracy.xaxis.set_inverted(True)
    _accuracy_ticks(accuracy.xaxis)
    accuracy.set_xlabel("seeds (dots) and mean (bar)")
    accuracy.set_yticks(range(len(names)), names)
    accuracy.invert_yaxis()  # the other panels share it
    for label, name in zip(accuracy.get_yticklabels(), names, strict=True):
        label.set_color(_colour(name))
    _bars(zeros, rows, "rounded_to_zero", 2)
    zeros.set(title="Gradient values that the cast makes zero", xlabel="% of the non-zero values")
    _bars(sent, rows, "wire_ratio", 1)
    sent.set(title="Bytes that a rank sends", xlabel="% of an FP32 all-reduce")
    for axes in panels:
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def _bars(axes: Axes, rows: list[Record], key: str, digits: int) -> None:
    for place, row in enumerate(rows):
        value = row[key]
        text = "not measured" if value is None else f"{100 * value:.{digits}f}"
        axes.barh(place, 100 * (value or 0), color=_colour(row["configuration"]), height=0.6)
        axes.text(100 * (value or 0) + 1.5, place, text, va="center", fontsize=9)
    axes.set_xlim(0, 120)
    axes.set_xticks(range(0, 101, 25))
    axes.tick_params(axis="y", length=0)


def _accuracy_ticks(axis: Any) -> None:
    """Labels in percent of right answers on a scale of errors."""
    low, high = sorted(math.log(error) for error in axis.get_view_interval())
    distance = TICK_DISTANCES[axis.axis_name]
    ticks: dict[float, float] = {}  # accuracy and where it is between low and high
    for accuracy in ACCURACY_TICKS:
        place = (math.log(1 - accuracy) - low) / (high - low)
        if 0 <= place <= 1 and all(abs(place - p) > distance for p in ticks.values()):
            ticks[accuracy] = place
    axis.set_ticks([1 - a for a in ticks], [f"{100 * a:.4g} %" for a in ticks])
    axis.set_ticks([], minor=True)


def _error(accuracy: float) -> float:
    return max(1 - accuracy, SMALLEST_ERROR)


def _colour(name: str) -> str:
    wire = name.removeprefix("ddp-").removeprefix("ranks-").split("-")[0]
    return COLOURS.get(wire, OTHER_COLOUR)


def _line(name: str) -> dict[str, Any]:
    """Colour for the format, dashes for how it is summed; 32 voters or plain DDP broad and pale."""
    plain = name.startswith(("ddp-", "sign-"))
    return {
        "color": _colour(name),
        "linestyle": LINES.get(name.split("-")[-1], "-"),
        "linewidth": 4 if plain else 1.6,
        "alpha": 0.35 if plain else 1,
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    draw(log.read(folder), folder / FILE_NAME)
