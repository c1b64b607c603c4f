"""The list of pictures that a file gives: what each is called, says and shows.

Nothing is drawn before it is asked for, so that the names of all files can be checked first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from cpdperf.plot.accuracy import accuracy_figure, best_rows, measured_rows
from cpdperf.plot.contenders import (
    Group,
    fastest_by_size,
    groups_of,
    network_text,
    ranks_text,
    variant_of,
    wire_text,
)
from cpdperf.plot.curves import time_figure
from cpdperf.plot.gains import gain_figure, overview_figure
from cpdperf.plot.style import Styles
from cpdperf.plot.units import error_text, gain_text, size_text
from cpdperf.plot.winners import is_within, winner, winner_figure
from cpdperf.results import Results, ResultsError, Row


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn, with a text that says what to see in it."""

    name: str  # of the file, without its ending
    title: str
    caption: str
    alt: str  # what it shows, for those who do not see it
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Slice:
    """Groups that have the ranks or the network in common, and what tells them apart."""

    name: str
    title: str
    groups: list[Group]
    labels: list[str]


def sweep_pictures(sweep: Results, accuracy: Results | None, error_limit: float) -> list[Picture]:
    """Where each format wins, gains and times, and the error, from a sweep."""
    groups, styles = groups_of(sweep.rows), Styles(sweep.rows)
    found = []
    for part in slices_of(groups):
        found.append(_winners(part, styles, None))
        if _some_are_above(part, error_limit):
            found.append(_winners(part, styles, error_limit))
    found += [_overview(part, styles) for part in slices_of(groups) if _has_gain(part.groups)]
    found += [*_accuracy_of(accuracy or sweep, is_asked_for=accuracy is not None)]
    for group in groups:
        found += group_pictures(group, styles)
    return found


def run_pictures(run: Results) -> list[Picture]:
    """Time and gain of one run of cpd-allreduce-perf."""
    styles = Styles(run.rows)
    return [picture for group in groups_of(run.rows) for picture in group_pictures(group, styles)]


def group_pictures(group: Group, styles: Styles) -> list[Picture]:
    found = [
        Picture(
            f"time-{group.name}",
            f"Time: {group.title}",
            "Each panel is a format with its ways to sum; the thin black line is the fastest FP32 "
            "of each size, whatever the library. The dotted line is the time that the format's "
            "bytes take at the link's rate, those of the way to sum that sends least: where a "
            "curve lies on it, only fewer bits can win more. The band is the interval that holds "
            "the median with 95 % confidence (in a single run: where the middle half of the "
            "iterations lies).",
            f"Time against size for each format, {group.title}. {_times_in_words(group)}",
            lambda: time_figure(group, styles),
        )
    ]
    if _has_gain([group]):
        found.append(
            Picture(
                f"gain-{group.name}",
                f"Gain: {group.title}",
                "The time of the fastest FP32 of the same size divided by the time. Below 1, in "
                "the shaded part, the format costs time; below 0.1 a curve leaves the "
                "picture. The grey lines are the other formats.",
                f"Gain over the best FP32 against size, {group.title}. {_gains_in_words(group)}",
                lambda: gain_figure(group, styles),
            )
        )
    return found


def accuracy_picture(results: Results) -> Picture:
    rows = measured_rows(results)
    best = "; ".join(
        f"{wire_text(row.wire)} {error_text(row.rel_rms or 0)}"
        for row in best_rows([row for row in rows if row.algorithm == rows[0].algorithm])
    )
    return Picture(
        "accuracy",
        "Accuracy against bytes",
        "The lower, the more exact; the further left, the fewer bytes. The grey line joins the "
        "formats that no other beats with as few bits. The error is that of the whole sum over all "
        "ranks, against a sum in double precision of the same input, so it depends on that input.",
        f"Relative RMS error over the bits sent per value. Least error, fewest bits first: {best}.",
        lambda: accuracy_figure(rows),
    )


def _accuracy_of(results: Results, is_asked_for: bool) -> list[Picture]:
    """A sweep need not have checked its sums; a file that was named for it must."""
    try:
        return [accuracy_picture(results)]
    except ResultsError:
        if is_asked_for:
            raise
        return []


def slices_of(groups: list[Group]) -> list[Slice]:
    """For each number of ranks its networks and for each network its ranks, where there are two."""
    by_ranks, by_network = defaultdict(list), defaultdict(list)
    for group in groups:
        by_ranks[group.ranks].append(group)
        by_network[group.network, group.rate_mbit].append(group)
    found = []
    for ranks, members in sorted(by_ranks.items()):
        labels = [network_text(group.network, group.rate_mbit) for group in members]
        found.append(Slice(f"{ranks}-ranks", ranks_text(ranks), members, labels))
    for (network, rate), members in by_network.items():
        labels = [ranks_text(group.ranks) for group in members]
        found.append(Slice(network, network_text(network, rate), members, labels))
    several = [part for part in found if len(part.groups) > 1]
    return several or found[:1]


def _winners(part: Slice, styles: Styles, error_limit: float | None) -> Picture:
    title = f"Where each format wins: {part.title}"
    caption = (
        "The fastest of all formats, ways to sum and libraries for each size. Hatched cells are "
        "those where plain FP32 is fastest and low precision does not pay."
    )
    if error_limit is not None:
        title += f", at most {error_text(error_limit)} error"
        caption += (
            " Only formats whose sum had a relative RMS error of at most "
            f"{error_text(error_limit)} take part."
        )
    return Picture(
        f"winners-{part.name}" + ("" if error_limit is None else "-small-error"),
        title,
        caption,
        f"{title}. {_winners_in_words(part, styles, error_limit)}",
        lambda: winner_figure(part.groups, part.labels, title, styles, error_limit),
    )


def _overview(part: Slice, styles: Styles) -> Picture:
    title = f"Gain over the best FP32: {part.title}"
    words = " ".join(
        f"{label}: {_gains_in_words(group)}"
        for group, label in zip(part.groups, part.labels, strict=True)
    )
    return Picture(
        f"gains-{part.name}",
        title,
        "Of each format the way to sum that is fastest at that size. The best FP32 is the line at "
        "1; in the shaded part below it the format costs time; below 0.1 a curve leaves the "
        "picture.",
        f"{title}. {words}",
        lambda: overview_figure(part.groups, part.labels, title, styles),
    )


def _some_are_above(part: Slice, error_limit: float) -> bool:
    """Whether the limit changes who may win, and the errors are known at all."""
    rows = [row for group in part.groups for row in group.rows]
    return any(row.rel_rms is not None and not is_within(row, error_limit) for row in rows)


def _has_gain(groups: list[Group]) -> bool:
    return any(row.gain is not None for group in groups for row in group.rows)


def _largest(group: Group) -> list[Row]:
    size = max(row.size for row in group.rows)
    return [row for row in group.rows if row.size == size]


def _gains_in_words(group: Group) -> str:
    rows = [row for row in _largest(group) if row.gain is not None and row.wire != "fp32"]
    best: dict[str, float] = {}
    for row in rows:
        best[row.wire] = max(row.gain or 0, best.get(row.wire, 0))
    words = ", ".join(f"{wire_text(wire)} {gain_text(gain)}" for wire, gain in best.items())
    return f"At {size_text(_largest(group)[0].size)}: {words or 'FP32 alone'}."


def _times_in_words(group: Group) -> str:
    fastest = fastest_by_size(_largest(group))
    row = next(iter(fastest.values()))
    return f"At {size_text(row.size)} {wire_text(row.wire)} is fastest."


def _winners_in_words(part: Slice, styles: Styles, error_limit: float | None) -> str:
    words = []
    for group, label in zip(part.groups, part.labels, strict=True):
        cells = []
        for size in sorted({row.size for row in group.rows}):
            row = winner([row for row in group.rows if row.size == size], error_limit)
            if row is None:
                continue
            gain = "" if row.gain is None else f" {gain_text(row.gain)}"
            cells.append(
                f"{size_text(size)} {wire_text(row.wire)} {variant_of(row, styles.choices)}{gain}"
            )
        words.append(f"{label}: {', '.join(cells)}.")
    return " ".join(words)
