"""What cpd-simulate wrote, and the rows that the pictures show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cpdperf.plot.contenders import wire_text
from cpdperf.plot.units import gain_text
from cpdperf.results import ResultsError, read_document

Row = dict[str, Any]
Record = dict[str, Any]
SCHEMA = "cpd-simulate/1"
PLAIN = "fp32"


def read_simulation(path: Path) -> Record:
    record = read_document(path, SCHEMA, "the JSON of cpd-simulate -J")
    if not record.get("results"):
        raise ResultsError(f'{path}: "results" has no row; expected the JSON of cpd-simulate -J')
    return record


def networks_of(record: Record) -> list[str]:
    return unique(record, "network")


def unique(record: Record, field: str) -> list[Any]:
    """The values of a field, in the order of the file."""
    return list(dict.fromkeys(row[field] for row in record["results"]))


def winners_of(record: Record, network: str) -> dict[tuple[int, int], Row]:
    """The fastest row for each number of ranks and size."""
    return {
        (row["ranks"], row["size"]): row
        for row in record["results"]
        if row["network"] == network and row["fastest"]
    }


def best_of(record: Record, network: str, size: int, wire: str) -> list[Row]:
    """The fastest algorithm of a format for each number of ranks, the fewest first."""
    found = [
        row
        for row in record["results"]
        if row["best_of_format"]
        and (row["network"], row["size"], row["wire"]) == (network, size, wire)
    ]
    return sorted(found, key=lambda row: row["ranks"])


def cell_lines(row: Row) -> list[str]:
    """What a cell of the map says, a line each: the algorithm's words have one each."""
    lines = [wire_text(row["wire"]), *row["algorithm"].split("_")]
    return lines if row["wire"] == PLAIN else [*lines, gain_text(row["gain"]) + "x"]
