"""Which rows belong to one line of a picture, what it is called, and what groups there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cpdperf.plot.units import rate_text
from cpdperf.results import BASELINE_BITS, Row, bits_per_value

OWN = "cpdcomm"
CHOICES = ("algorithm", "accumulate", "scaling", "rounding")
LIBRARIES = {"openmpi": "Open MPI", "openmpi-ring": "Open MPI ring", "mpi": "MPI", "gloo": "gloo"}
LIBRARIES |= {f"openmpi-{number}": f"Open MPI algorithm {number}" for number in range(1, 7)}
LIBRARIES |= {"mpich": "MPICH"}
TYPES = tuple(BASELINE_BITS)  # formats that are plain types, written in capitals


@dataclass(frozen=True)
class Contender:
    """One way to sum, at all sizes that were measured, the smallest first."""

    library: str
    wire: str
    variant: str  # what sets it apart from others of its library and format
    rows: list[Row]

    @property
    def is_own(self) -> bool:
        return self.library == OWN


@dataclass(frozen=True)
class Group:
    """The rows of one network and number of ranks."""

    network: str
    rate_mbit: float | None
    ranks: int
    rows: list[Row]

    @property
    def name(self) -> str:
        return f"{self.network}-{self.ranks}-ranks"

    @property
    def title(self) -> str:
        return f"{network_text(self.network, self.rate_mbit)}, {ranks_text(self.ranks)}"


def network_text(network: str, rate_mbit: float | None) -> str:
    if rate_mbit is not None:
        return rate_text(rate_mbit)
    return {"host": "one host", "run": "one run"}.get(network, network)


def ranks_text(ranks: int) -> str:
    return f"{ranks} rank" + ("s" if ranks != 1 else "")


def wire_text(wire: str) -> str:
    """Plain types in capitals, as one writes them; formats as one types them."""
    return wire.upper() if wire in TYPES else wire


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """The slowest network first, those without a limit last; then by the ranks."""
    found: dict[tuple[str, float | None, int], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.network, row.rate_mbit, row.ranks].append(row)
    keys = sorted(found, key=lambda key: (key[1] is None, key[1] or 0, key[0], key[2]))
    return [Group(*key, found[key]) for key in keys]


def wires_of(rows: Iterable[Row]) -> list[str]:
    """FP32 first, then the formats with the most bits; equals in the order of the file."""
    bits: dict[str, float] = {}
    for row in rows:
        known = BASELINE_BITS.get(row.wire) or bits_per_value(row) or 0
        bits[row.wire] = min(known, bits.get(row.wire, known) or known)
    return sorted(bits, key=lambda wire: (wire != "fp32", -round(bits[wire])))


def varying_choices(rows: Iterable[Row]) -> list[str]:
    """The choices that tell our contenders of one format apart; always the algorithm."""
    seen: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for row in rows:
        for choice in CHOICES:
            if row.library == OWN:
                seen[choice, row.wire].add(getattr(row, choice))
    several = {choice for (choice, _), values in seen.items() if len(values) > 1}
    return [choice for choice in CHOICES if choice == "algorithm" or choice in several]


def variant_of(row: Row, choices: list[str]) -> str:
    """The name of a way to sum: ring, direct kahan; another library's is the library's name."""
    if row.library != OWN:
        return LIBRARIES.get(row.library, row.library)
    values = (getattr(row, choice) for choice in choices)
    return " ".join(str(value).replace("_", " ") for value in values if value is not None)


def contenders_of(rows: list[Row], choices: list[str]) -> list[Contender]:
    found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.library, row.wire, variant_of(row, choices)].append(row)
    return [
        Contender(*key, sorted(members, key=lambda row: row.size)) for key, members in found.items()
    ]


def fastest_by_size(rows: Iterable[Row]) -> dict[int, Row]:
    """For each size, the smallest first, the row with the smallest median time."""
    best: dict[int, Row] = {}
    for row in rows:
        if row.size not in best or row.time_us < best[row.size].time_us:
            best[row.size] = row
    return dict(sorted(best.items()))
