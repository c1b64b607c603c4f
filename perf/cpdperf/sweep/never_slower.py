"""Whether `automatic` is anywhere slower than MPI's own all-reduce.

A cell of the map is one size in one place. Its ratio is that of `automatic` over MPI's time in the
same launch, where they took turns call by call: the median over the launches of the ratio of their
medians, with a bootstrap interval over launches.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpdperf.sweep import statistics
from cpdperf.sweep.sizes import format_size

MOST_SLOWER = 1.03
MOST_SLOWER_US = 5.0
FEWEST_LAUNCHES = 3
KEPT, BROKEN, OPEN = "kept", "BROKEN", "open"
MOST_DRAWS = 7**5  # of launches; with fewer than 6 every draw is made, else some at random


@dataclass(frozen=True)
class Cell:
    """A contender at one size in one place, beside MPI. Times in microseconds."""

    network: str
    ranks: int
    size: int
    wire: str
    taken: str  # the algorithm
    compressed: bool
    time_us: float
    mpi_us: float
    ratio: float
    ratio_low: float
    ratio_high: float
    more_us_low: float  # of the difference of the two
    more_us_high: float

    @property
    def verdict(self) -> str:
        """Kept where either allowance holds for the whole interval, broken where neither can."""
        if self.ratio_high <= MOST_SLOWER or self.more_us_high <= MOST_SLOWER_US:
            return KEPT
        if self.ratio_low > MOST_SLOWER and self.more_us_low > MOST_SLOWER_US:
            return BROKEN
        return OPEN


def draws_of(launches: int) -> np.ndarray:
    """Launches that are drawn with replacement, [draws, launches]."""
    if launches**launches <= MOST_DRAWS:
        return np.array(list(itertools.product(range(launches), repeat=launches)))
    return np.random.default_rng(1).integers(launches, size=(MOST_DRAWS, launches))


def interval_of_median(values: np.ndarray) -> tuple[float, float]:
    """Of one value for each launch; of few launches nothing is known."""
    if len(values) < FEWEST_LAUNCHES:
        return -np.inf, np.inf
    return statistics.interval_of(np.median(values[draws_of(len(values))], axis=1))


def cells(document: dict[str, Any]) -> list[Cell]:
    """All of a sweep that has rows of MPI's default and of `automatic`."""
    baseline = {place_of(row): row for row in document["rows"] if row["library"] == "openmpi"}
    return [
        cell(row, baseline[place_of(row)])
        for row in document["rows"]
        if row["library"] == "cpdcomm"
        and row["algorithm"] == "automatic"
        and place_of(row) in baseline
    ]


def place_of(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["network"], row["ranks"], row["size"]


def cell(row: dict[str, Any], mpi: dict[str, Any]) -> Cell:
    own = np.array(row["launch_medians_us"])
    other = np.array(mpi["launch_medians_us"])
    return Cell(
        *place_of(row),
        row["wire"],
        row["algorithm_taken"],
        row["compressed"],
        row["time_us"],
        mpi["time_us"],
        float(np.median(own / other)),
        *interval_of_median(own / other),
        *interval_of_median(own - other),
    )


def report(document: dict[str, Any]) -> str:
    """A line for each cell, the worst last, and what it comes to."""
    found = sorted(cells(document), key=lambda one: one.ratio)
    lines = [
        f"# automatic over MPI_Allreduce: at most {MOST_SLOWER:g} times, or {MOST_SLOWER_US:g} us"
        " more, by the 95 percent interval",
        f"# {'network':8} {'ranks':>5} {'size':>5} {'wire':>5} {'taken':>17} {'time us':>10}"
        f" {'MPI us':>10} {'ratio':>6} {'interval':>13}  verdict",
    ]
    lines += [line(one) for one in found]
    counts = {name: sum(one.verdict == name for one in found) for name in (KEPT, OPEN, BROKEN)}
    lines.append("# " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return "\n".join(lines)


def line(one: Cell) -> str:
    taken = one.taken if one.compressed or one.wire == "fp32" else f"{one.taken} (fp32)"
    interval = f"{one.ratio_low:.3f}-{one.ratio_high:.3f}"
    return (
        f"  {one.network:8} {one.ranks:5} {format_size(one.size):>5} {one.wire:>5} {taken:>17}"
        f" {one.time_us:10.1f} {one.mpi_us:10.1f} {one.ratio:6.3f} {interval:>13}  {one.verdict}"
    )
