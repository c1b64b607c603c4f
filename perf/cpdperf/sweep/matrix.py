"""What a sweep measures: networks, ranks, sizes, formats, algorithms and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpdperf.sweep.sizes import SizeRange, parse_size

# Mbit/s of each link, both ways; one host has no link.
NETWORKS: dict[str, int | None] = {"100mbit": 100, "1gbit": 1000, "10gbit": 10_000, "host": None}
RANKS = (2, 3, 4, 8)
SIZES = SizeRange(1024, parse_size("64M"))

# What is started: our program, the same with Open MPI's ring as its baseline, torch's gloo, MPICH.
CPD, OPENMPI_RING, GLOO, MPICH = "cpd", "openmpi-ring", "gloo", "mpich"
BASELINES = (OPENMPI_RING, GLOO)  # Open MPI's default algorithm is measured in every CPD launch
# Open MPI's algorithms by the numbers of its tuned component: 1 linear, 2 reduce and broadcast,
# 3 recursive doubling, 4 ring, 5 segmented ring, 6 Rabenseifner's.
OPENMPI_ALGORITHMS = {f"openmpi-{number}": number for number in range(1, 7)}
OPENMPI_NUMBERS = {OPENMPI_RING: 4, **OPENMPI_ALGORITHMS}
ALL_BASELINES = (*BASELINES, *OPENMPI_ALGORITHMS, MPICH)


@dataclass(frozen=True)
class Place:
    """So many ranks in one network, and the sizes measured there."""

    network: str
    ranks: int
    sizes: SizeRange

    @property
    def name(self) -> str:
        return f"{self.network}-{self.ranks}"

    @property
    def rate_mbit(self) -> int | None:
        return NETWORKS[self.network]


@dataclass(frozen=True)
class Contenders:
    """The lists that cpd-allreduce-perf gets, and the baselines beside it."""

    wires: tuple[str, ...]
    algorithms: tuple[str, ...] = ("direct", "ring")
    accumulate: tuple[str, ...] = ("wide",)
    scaling: tuple[str, ...] = ("automatic",)
    rounding: tuple[str, ...] = ("nearest_even",)
    result: tuple[str, ...] = ("full",)
    baselines: tuple[str, ...] = BASELINES


@dataclass(frozen=True)
class Effort:
    """How often each thing is measured."""

    launches: int = 3
    iterations: int = 20
    time_limit: float = 8.0  # seconds for each size of a launch


# Each width of the wire once; formats of one width take about the same time.
DEFAULT_WIRES = ("fp32", "bf16", "e4m3", "bfp8", "e3m0", "mxfp4", "int4")
FULL_WIRES = (
    *("fp32", "bf16", "fp16", "e5m2", "e4m3", "e4m3fn", "bfp8", "mxfp8e4m3", "int8"),
    *("e3m2", "mxfp6e3m2", "e3m0", "e2m1fn", "bfp4", "mxfp4", "int4", "e2m0", "int2", "sign"),
)
FULL_EFFORT = Effort(time_limit=60.0)


def default_places() -> list[Place]:
    """A part of the matrix that ends within 40 minutes on four cores.

    All networks with 4 ranks, and the other numbers of ranks at 1 Gbit/s. What 100 Mbit/s shows
    does not change above 4 MiB, where one FP32 sum takes half a second.
    """
    small = SIZES.up_to(parse_size("4M"))
    places = [Place("100mbit", 4, small)]
    places += [Place("1gbit", ranks, SIZES) for ranks in RANKS]
    return places + [Place("10gbit", 4, SIZES), Place("host", 4, SIZES)]


def cross(networks: Sequence[str], ranks: Sequence[int], sizes: SizeRange) -> list[Place]:
    """Every network with every number of ranks."""
    return [Place(network, count, sizes) for network in networks for count in ranks]


def places_of(
    networks: Sequence[str] | None,
    ranks: Sequence[int] | None,
    sizes: SizeRange | None,
    full: bool,
) -> list[Place]:
    """The places that were asked for; None stands for what was not said."""
    if networks or ranks or full:
        ranks = ranks or (RANKS if full else (4,))
        return cross(networks or tuple(NETWORKS), ranks, sizes or SIZES)
    if sizes is None:
        return default_places()
    return [Place(place.network, place.ranks, sizes) for place in default_places()]
