"""Reads measured results: what cpd-allreduce-perf and its peers wrote, and what a sweep wrote.

Both become the same rows, so that one set of pictures draws either.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALLREDUCE = "cpd-allreduce-perf/1"
SWEEP = "cpdperf-sweep/1"

PEERS = ("mpi", "gloo")  # algorithms that name another library's all-reduce
BASELINE_BITS = {"fp64": 64, "fp32": 32, "bf16": 16, "fp16": 16}


class ResultsError(Exception):
    """A file is not what it should be; the message names it and says what is expected."""


@dataclass(frozen=True)
class Row:
    """One contender at one size in one network. Times are in microseconds."""

    network: str
    rate_mbit: float | None  # of each link; None where it is not limited or not known
    ranks: int
    size: int  # logical bytes
    count: int
    library: str
    wire: str
    algorithm: str
    accumulate: str | None
    scaling: str | None
    rounding: str | None
    time_us: float
    time_us_low: float
    time_us_high: float
    wire_bytes: float | None  # that a rank sends
    bound_us: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    rel_rms: float | None
    max_error: float | None
    wrong: int | None


@dataclass(frozen=True)
class Results:
    """A file: its right rows, how many had wrong sums, and the document for all the rest."""

    path: Path
    document: dict[str, Any]
    rows: list[Row]
    wrong_rows: int


def read_sweep(path: Path) -> Results:
    """Reads the sweep.json of perf/sweep."""
    document = read_document(path, SWEEP, "the sweep.json of perf/sweep")
    entries = _entries(path, document, "rows")
    rows = [_sweep_row(entry, f"{path}: rows[{i}]") for i, entry in enumerate(entries)]
    return _results(path, document, rows)


def read_allreduce(path: Path, rate_mbit: float | None = None) -> Results:
    """Reads one run. With the rate of a rank's link each row gets the time that its bytes need."""
    document = read_document(path, ALLREDUCE, "the JSON of cpd-allreduce-perf -J")
    entries = _entries(path, document, "results")
    rows = [_run_row(entry, f"{path}: results[{i}]", rate_mbit) for i, entry in enumerate(entries)]
    return _results(path, document, rows)


def optimal_bytes(ranks: int, count: int, bits: float) -> float:
    """What each rank sends in an all-reduce that sends no byte twice."""
    return 2 * (ranks - 1) / ranks * count * bits / 8


def bits_per_value(row: Row) -> float | None:
    """Bits sent for each value, measured against an optimal all-reduce; None if not known."""
    if row.wire_bytes is None or row.count == 0 or row.ranks == 1:
        return None
    return row.wire_bytes / optimal_bytes(row.ranks, row.count, 1)


def _results(path: Path, document: dict[str, Any], rows: list[Row]) -> Results:
    """Empty vectors are left out: they have no place on an axis of sizes."""
    wrong = sum(1 for row in rows if row.wrong)
    right = [row for row in rows if not row.wrong and row.size > 0]
    if not right:
        raise ResultsError(
            f"{path}: none of its {len(rows)} results is right and of a size above 0 "
            f"({wrong} are wrong); expected at least one"
        )
    return Results(path, document, right, wrong)


def read_json(path: Path, what: str) -> Any:
    """Whatever the file holds. If it cannot be read the message says what it should be."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    except ValueError as error:
        raise ResultsError(f"{path}: is not JSON ({error}); expected {what}") from None


def read_document(path: Path, schema: str, what: str) -> dict[str, Any]:
    document = read_json(path, what)
    found = document.get("schema") if isinstance(document, dict) else None
    if found != schema:
        raise ResultsError(f'{path}: "schema" is {found!r}; expected "{schema}", {what}')
    return document


def _entries(path: Path, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = document.get(name)
    if not isinstance(entries, list) or not entries:
        raise ResultsError(f'{path}: "{name}" is {_short(entries)}; expected a list of results')
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ResultsError(f"{path}: {name}[{i}] is {_short(entry)}; expected an object")
    return entries


def _sweep_row(entry: dict[str, Any], where: str) -> Row:
    return Row(**{name: _field(entry, where, name) for name in Row.__dataclass_fields__})


def _run_row(entry: dict[str, Any], where: str, rate_mbit: float | None) -> Row:
    """A row of one run; its interval holds the middle half of the iterations."""
    both = [name for name in Row.__dataclass_fields__ if name not in _DERIVED]
    fields = {name: _field(entry, where, name) for name in both}
    low, high = _middle_half(entry, where)
    to_best = None if fields["gain"] is None else fields["gain"] * fields["time_us"]
    return Row(
        **fields,
        network="run",
        rate_mbit=rate_mbit,
        library=fields["algorithm"] if fields["algorithm"] in PEERS else "cpdcomm",
        time_us_low=low,
        time_us_high=high,
        bound_us=_bound(fields, rate_mbit),
        gain_low=None if to_best is None else to_best / high,
        gain_high=None if to_best is None else to_best / low,
    )


def _middle_half(entry: dict[str, Any], where: str) -> tuple[float, float]:
    times = entry.get("times_us")
    if not isinstance(times, list) or not times or not all(_is_positive(time) for time in times):
        raise ResultsError(f"{where}.times_us is {_short(times)}; expected a list of numbers > 0")
    if len(times) == 1:
        return times[0], times[0]
    quarters = statistics.quantiles(times, n=4, method="inclusive")
    return quarters[0], quarters[2]


def _bound(fields: dict[str, Any], rate_mbit: float | None) -> float | None:
    sent = fields["wire_bytes"]
    if sent is None and fields["wire"] in BASELINE_BITS:
        sent = optimal_bytes(fields["ranks"], fields["count"], BASELINE_BITS[fields["wire"]])
    return None if sent is None or rate_mbit is None else sent * 8 / rate_mbit


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


_DERIVED = (
    "network", "rate_mbit", "library", "time_us_low", "time_us_high",
    "bound_us", "gain_low", "gain_high",
)  # fmt: skip

# What a field may be, in words and as a check; None is allowed where "or null" says so.
_TEXT = ("a name", _is_text)
_TEXT_OR_NULL = ("a name or null", _is_text)
_COUNT = ("a whole number >= 0", _is_count)
_COUNT_OR_NULL = ("a whole number >= 0 or null", _is_count)
_POSITIVE = ("a number > 0", _is_positive)
_POSITIVE_OR_NULL = ("a number > 0 or null", _is_positive)
_AMOUNT_OR_NULL = ("a number >= 0 or null", _is_amount)
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "network": _TEXT,
    "rate_mbit": _POSITIVE_OR_NULL,
    "ranks": _COUNT,
    "size": _COUNT,
    "count": _COUNT,
    "library": _TEXT,
    "wire": _TEXT,
    "algorithm": _TEXT,
    "accumulate": _TEXT_OR_NULL,
    "scaling": _TEXT_OR_NULL,
    "rounding": _TEXT_OR_NULL,
    "time_us": _POSITIVE,
    "time_us_low": _POSITIVE,
    "time_us_high": _POSITIVE,
    "wire_bytes": _AMOUNT_OR_NULL,
    "bound_us": _AMOUNT_OR_NULL,
    "gain": _POSITIVE_OR_NULL,
    "gain_low": _POSITIVE_OR_NULL,
    "gain_high": _POSITIVE_OR_NULL,
    "rel_rms": _AMOUNT_OR_NULL,
    "max_error": _AMOUNT_OR_NULL,
    "wrong": _COUNT_OR_NULL,
}


def _field(entry: dict[str, Any], where: str, name: str) -> Any:
    expected, is_right = _FIELDS[name]
    if name not in entry:
        raise ResultsError(f"{where}.{name} is missing; expected {expected}")
    value = entry[name]
    if value is None and expected.endswith("or null"):
        return None
    if not is_right(value):
        raise ResultsError(f"{where}.{name} is {_short(value)}; expected {expected}")
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
