"""What a sweep must show: gains over the best FP32, parts of the bound, the price of `exact`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cpdperf.sweep.never_slower import interval_of_median
from cpdperf.sweep.sizes import format_size, parse_size

Json = dict[str, Any]
FINE, PLAIN, OWN_SCALES = "aps:N", "aps", "none"
MET, MISSED, OPEN, UNKNOWN = "met", "MISSED", "open", "not measured"
MOST_FOR_EXACT = 1.15


@dataclass(frozen=True)
class Target:
    """At least so large a gain over the best FP32, or part of the bound of its own bytes."""

    network: str
    ranks: int
    size: int
    wire: str
    scaling: str  # FINE stands for every group
    least: float
    is_gain: bool = True

    @property
    def name(self) -> str:
        what = "gain" if self.is_gain else "of bound"
        return (
            f"{self.network:7} {self.ranks:5} {format_size(self.size):>5} {self.wire:>6}"
            f" {self.scaling:>6} {what:>9}"
        )


@dataclass(frozen=True)
class Finding:
    """What a target came to; `row` is the fastest that qualifies, None where there is none."""

    target: Target
    row: Json | None
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def verdict(self) -> str:
        """Met by its interval or missed by it; open where the interval holds the target."""
        if self.row is None:
            return UNKNOWN
        if self.low >= self.target.least:
            return MET
        return MISSED if self.high < self.target.least else OPEN


def of_table() -> list[Target]:
    """4 ranks and 64 MiB, but where something else is said."""
    large, small = parse_size("64M"), parse_size("4M")
    fine = {"e4m3": FINE, "e3m0": FINE, "int2": OWN_SCALES}
    plain = {"e4m3": PLAIN, "e3m0": PLAIN}
    gains = {"e4m3": 3.85, "e3m0": 7.4, "int2": 13.0}
    rows = [
        ("1gbit", 4, large, fine, gains, True),
        ("1gbit", 4, large, fine, {"e4m3": 0.94, "e3m0": 0.93, "int2": 0.88}, False),
        ("10gbit", 4, large, fine, {"e4m3": 2.3, "e3m0": 3.0}, True),
        ("host", 4, large, fine, {"e4m3": 2.2, "e3m0": 2.6}, True),
        ("1gbit", 4, large, plain, {"e4m3": 3.75, "e3m0": 7.1}, True),
        ("1gbit", 4, small, fine, {"e4m3": 3.6, "e3m0": 6.5}, True),
        # The same within 10 percent.
        ("1gbit", 3, large, fine, {wire: 0.9 * least for wire, least in gains.items()}, True),
        ("1gbit", 8, large, fine, {wire: 0.9 * least for wire, least in gains.items()}, True),
    ]
    return [
        Target(network, ranks, size, wire, scalings[wire], least, is_gain)
        for network, ranks, size, scalings, values, is_gain in rows
        for wire, least in values.items()
    ]


def findings(document: Json) -> list[Finding]:
    return [judge(target, document["rows"]) for target in of_table()]


def judge(target: Target, rows: list[Json]) -> Finding:
    """By the fastest of all algorithms that sum as the target says."""
    fits = [row for row in rows if qualifies(row, target)]
    if not fits:
        return Finding(target, None)
    row = min(fits, key=lambda one: one["time_us"])
    if target.is_gain:
        return Finding(target, row, row["gain"], row["gain_low"], row["gain_high"])
    bound = row["bound_us"]
    times = (row["time_us"], row["time_us_high"], row["time_us_low"])
    return Finding(target, row, *(bound / time for time in times))


def qualifies(row: Json, target: Target) -> bool:
    fine = target.scaling == FINE and (row["scaling"] or "").startswith("aps:")
    return (
        row["library"] == "cpdcomm"
        and row["accumulate"] == "wide"
        and (fine or row["scaling"] == target.scaling)
        and all(row[name] == getattr(target, name) for name in ("network", "ranks", "size", "wire"))
        and row["gain"] is not None
        and (target.is_gain or row["bound_us"] is not None)
    )


@dataclass(frozen=True)
class Price:
    """Time per wire byte of `exact` over that of `wide`, each with its fastest algorithm."""

    wire: str
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.high <= MOST_FOR_EXACT:
            return MET
        return MISSED if self.low > MOST_FOR_EXACT else OPEN


def prices(document: Json) -> list[Price]:
    """At 1 Gbit/s with 4 ranks and 64 MiB, of formats that were summed both ways."""
    large = parse_size("64M")
    rows = [
        row
        for row in document["rows"]
        if (row["network"], row["ranks"], row["size"]) == ("1gbit", 4, large)
        and row["library"] == "cpdcomm"
        and row["wire"].startswith(("bfp", "int"))
    ]
    return [
        price(wire, *pair)
        for wire in dict.fromkeys(row["wire"] for row in rows)
        if (pair := fastest_pair(rows, wire))
    ]


def fastest_pair(rows: list[Json], wire: str) -> tuple[Json, Json] | None:
    found = []
    for accumulate in ("exact", "wide"):
        fits = [row for row in rows if (row["wire"], row["accumulate"]) == (wire, accumulate)]
        if not fits:
            return None
        found.append(min(fits, key=lambda row: row["time_us"]))
    return found[0], found[1]


def price(wire: str, exact: Json, wide: Json) -> Price:
    of_bytes = wide["wire_bytes"] / exact["wire_bytes"]
    ratios = np.array(exact["launch_medians_us"]) / np.array(wide["launch_medians_us"]) * of_bytes
    return Price(wire, float(np.median(ratios)), *interval_of_median(ratios))


def best_fp32(rows: list[Json], target: Target) -> str:
    """Whose FP32 is the mark."""
    place = (target.network, target.ranks, target.size)
    fits = [
        row
        for row in rows
        if (row["network"], row["ranks"], row["size"]) == place and row["wire"] == "fp32"
    ]
    if not fits:
        return "-"
    best = min(fits, key=lambda row: row["time_us"])
    return f"{best['library']} {best['algorithm']} {best['time_us'] / 1e3:.1f} ms"


def report(document: Json) -> str:
    """A line for each target."""
    lines = [
        "# gains over the best FP32, and parts of the bound of the own bytes; 95 percent intervals",
        f"# {'network':7} {'ranks':>5} {'size':>5} {'wire':>6} {'scales':>6} {'':>9} {'target':>7}"
        f" {'found':>7} {'interval':>15}  {'verdict':12} {'algorithm':10} best FP32",
    ]
    lines += [line(one, document["rows"]) for one in findings(document)]
    lines.append(f"# exact: time per wire byte over that of wide, at most {MOST_FOR_EXACT}")
    lines += [
        f"  {one.wire:8} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})  {one.verdict}"
        for one in prices(document)
    ]
    return "\n".join(lines)


def line(one: Finding, rows: list[Json]) -> str:
    start = f"  {one.target.name} {one.target.least:7.3g}"
    if one.row is None:
        return f"{start} {'-':>7} {'-':>15}  {one.verdict}"
    interval = f"{one.low:.3f}-{one.high:.3f}"
    return (
        f"{start} {one.value:7.3f} {interval:>15}  {one.verdict:12} {one.row['algorithm']:10}"
        f" {best_fp32(rows, one.target)}"
    )
