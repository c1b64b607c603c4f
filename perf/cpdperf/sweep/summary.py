"""Joins the launches of a run folder into sweep.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cpdperf.sweep import statistics
from cpdperf.sweep.bits import bits_of
from cpdperf.sweep.folder import RunFolder, utc_now
from cpdperf.sweep.matrix import CPD, GLOO, MPICH, Place
from cpdperf.sweep.plan import Launch, plan_from

SCHEMA = "cpdperf-sweep/1"
NAMES = ("wire", "algorithm", "accumulate", "scaling", "rounding")
MORE_NAMES = ("across", "inner", "result")  # which only some programs know


@dataclass
class Series:
    """One contender at one size in one place: its results, a launch each."""

    place: Place
    library: str
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def times(self) -> list[list[float]]:
        return [result["times_us"] for result in self.results]

    @property
    def first(self) -> dict[str, Any]:
        return self.results[0]

    @property
    def name(self) -> str:
        more = [self.first[name] for name in MORE_NAMES if self.first.get(name)]
        names = [*map(self.first.get, NAMES), *more]
        parts = (self.place.name, self.first["size"], self.library, *names)
        return " ".join(map(str, parts))


def summarize(folder: RunFolder) -> dict[str, Any]:
    """The document of a run, finished or not."""
    plan = plan_from(folder.header["settings"])
    records = {launch: folder.load(launch) for launch in plan.launches()}
    results = {
        launch: record["result"]
        for launch, record in records.items()
        if record and record["result"]
    }
    return {
        "schema": SCHEMA,
        "date": folder.header["date"],
        "summarized": utc_now(),
        "command": folder.header["command"],
        "machine": machine(results, folder.header),
        "versions": versions(results),
        "settings": folder.header["settings"],
        "rows": rows(list(series_of(results).values()), plan.effort.launches),
        "left_out": left_out(records),
    }


def library_of(kind: str, row: dict[str, Any]) -> str | None:
    """Whose all-reduce a row measured; None for one that is not asked of this kind of launch."""
    if kind == CPD:
        return "openmpi" if row["algorithm"] == "mpi" else "cpdcomm"
    return kind if kind == GLOO or row["algorithm"] == "mpi" else None


def series_of(results: dict[Launch, dict[str, Any]]) -> dict[tuple, Series]:
    """The rows of all launches by place, size and contender, in the order of the plan."""
    found: dict[tuple, Series] = {}
    for launch, document in results.items():
        for row in document["results"]:
            library = library_of(launch.kind, row)
            if library is None:
                continue
            names = map(row.get, (*NAMES, *MORE_NAMES))
            key = (launch.place.name, row["size"], library, *names)
            found.setdefault(key, Series(launch.place, library)).results.append(row)
    return found


def rows(series: list[Series], launches: int) -> list[dict[str, Any]]:
    """All rows; each is compared with the fastest FP32 of its place and size."""
    draws = statistics.launch_draws(launches)
    table = []
    for group in groups(series):
        resampled = [
            statistics.resampled_medians(one.times, draws, statistics.seed_of(one.name))
            for one in group
        ]
        best = fastest_fp32(group)
        for one, medians in zip(group, resampled, strict=True):
            row = describe(one, medians)
            gains = None if best is None else resampled[best] / medians
            table.append(row | gain(row["time_us"], gains, best, group))
    return table


def groups(series: list[Series]) -> Iterator[list[Series]]:
    """The contenders of each place and size, together."""
    found: dict[tuple[str, int], list[Series]] = {}
    for one in series:
        found.setdefault((one.place.name, one.first["size"]), []).append(one)
    yield from found.values()


def fastest_fp32(group: list[Series]) -> int | None:
    """Which contender, of any library, is the fastest with FP32 on the wire."""
    medians = {
        index: statistics.median_of(one.times)
        for index, one in enumerate(group)
        if one.first["wire"] == "fp32"
    }
    return min(medians, key=medians.get) if medians else None


def gain(
    time: float, gains: np.ndarray | None, best: int | None, group: list[Series]
) -> dict[str, float | None]:
    """The time of the fastest FP32 over this one's; both are resampled launch by launch."""
    if gains is None or best is None:
        return {"gain": None, "gain_low": None, "gain_high": None}
    low, high = statistics.interval_of(gains)
    ratio = statistics.median_of(group[best].times) / time
    return {"gain": ratio, "gain_low": low, "gain_high": high}


def describe(series: Series, medians: np.ndarray) -> dict[str, Any]:
    """A row without its gain."""
    place, first, times = series.place, series.first, series.times
    low, high = statistics.interval_of(medians)
    return {
        "network": place.network,
        "rate_mbit": place.rate_mbit,
        "ranks": place.ranks,
        "size": first["size"],
        "count": first["count"],
        "library": series.library,
        **{name: first[name] for name in NAMES},
        **{name: first.get(name) for name in MORE_NAMES},
        "algorithm_taken": first["algorithm_taken"],
        "compressed": first.get("compressed"),
        "time_us": statistics.median_of(times),
        "time_us_low": low,
        "time_us_high": high,
        "launches": len(times),
        "iterations": sum(map(len, times)),
        "launch_medians_us": [statistics.median_of([launch]) for launch in times],
        "codec_us": middle(series, "codec_us"),
        "wait_us": middle(series, "wait_us"),
        "wire_bytes": first["wire_bytes"],
        "bound_us": bound(series),
        "rel_rms": largest(series, "rel_rms"),
        "max_error": largest(series, "max_error"),
        "wrong": largest(series, "wrong"),
    }


def largest(series: Series, name: str) -> float | int | None:
    """Over the launches that were checked."""
    return max((row[name] for row in series.results if row[name] is not None), default=None)


def middle(series: Series, name: str) -> float | None:
    """The median of the launches' own."""
    found = [row[name] for row in series.results if row.get(name) is not None]
    return float(np.median(found)) if found else None


def bound(series: Series) -> float | None:
    """Microseconds that the bytes take on the link; None on one host.

    Where a library does not say what it sends, the bytes of an optimal all-reduce.
    """
    place, first = series.place, series.first
    if place.rate_mbit is None:
        return None
    sent = first["wire_bytes"]
    if sent is None:
        share = 2 * (place.ranks - 1) / place.ranks
        sent = share * bits_of(first["wire"]) / 8 * first["count"]
    return sent * 8 / place.rate_mbit


def machine(results: dict[Launch, dict[str, Any]], header: dict[str, Any]) -> dict[str, Any]:
    """As the programs saw it; a pinned rank sees one core, so the sweep counts them.

    `load` is that of the minute before the sweep.
    """
    seen = next(iter(results.values()))["machine"] if results else {}
    kept = {name: value for name, value in seen.items() if name not in ("ranks", "hosts")}
    return kept | {"cores": header["cores"], "load": header["load"]}


def versions(results: dict[Launch, dict[str, Any]]) -> dict[str, str | None]:
    """Of everything that was measured; None for what was not."""
    found: dict[str, str | None] = {"cpdcomm": None, "mpi": None, "torch": None}
    for launch, document in results.items():
        if launch.kind == GLOO:
            found["torch"] = document["version"]
        elif launch.kind == MPICH:
            found["mpich"] = document["mpi"]
        else:
            found |= {"cpdcomm": document["version"], "mpi": document["mpi"]}
    return found


def left_out(records: dict[Launch, dict[str, Any] | None]) -> list[dict[str, str]]:
    """Launches without results, and contenders that the programs refused."""
    found = []
    refused: dict[tuple[str, str], None] = {}
    for launch, record in records.items():
        if record is None:
            found.append({"what": launch.name, "reason": "not run yet"})
        elif not record["result"]:
            reason = f"{record['reason']}\n{record['output']}".strip()
            found.append({"what": launch.name, "reason": reason})
        else:
            for entry in record["result"]["left_out"]:
                refused[entry["contender"], entry["reason"]] = None
    return found + [{"what": what, "reason": reason} for what, reason in refused]
