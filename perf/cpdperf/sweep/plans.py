"""Plans with names: each measures one question, and a table says what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.matrix import GLOO, MPICH, OPENMPI_ALGORITHMS, Contenders, Effort, Place
from cpdperf.sweep.plan import Plan
from cpdperf.sweep.sizes import SizeRange

TARGETS, NEVER_SLOWER = "targets", "never-slower"
LARGE = SizeRange.parse("64M")
BOTH = SizeRange.parse("4M:64M:16")
TARGET_PLACES = (
    Place("1gbit", 4, BOTH),
    Place("1gbit", 3, LARGE),
    Place("1gbit", 8, LARGE),
    Place("10gbit", 4, BOTH),
    Place("host", 4, BOTH),
)
TARGET_WIRES = ("fp32", "e4m3", "e3m0", "int2", "bfp8", "int8")
TARGET_EFFORT = Effort(launches=5, iterations=20, time_limit=600.0)
GROUP = 4096  # values that share an exponent, of aps:N

ALL_SIZES = SizeRange.parse("1K:256M:4")
EVERYWHERE = tuple(
    Place(network, ranks, ALL_SIZES)
    for network in ("host", "1gbit", "10gbit")
    for ranks in (2, 3, 4, 8)
)
NEVER_SLOWER_EFFORT = Effort(launches=5, iterations=100, time_limit=8.0)
LIMITS = (0.1, 600.0)  # seconds for a size, between which a budget may choose


def targets(group: int, algorithms: Sequence[str]) -> Plan:
    """Formats of 2, 4 and 8 bits beside every FP32 there is.

    `automatic` scaling is one exponent for the whole tensor, or a block's own scales.
    """
    contenders = Contenders(
        TARGET_WIRES,
        algorithms=tuple(algorithms),
        accumulate=("wide", "exact"),
        scaling=("automatic", f"aps:{group}"),
        baselines=(*OPENMPI_ALGORITHMS, GLOO, MPICH),
    )
    return Plan(TARGET_PLACES, contenders, TARGET_EFFORT, name=TARGETS)


def never_slower() -> Plan:
    """`automatic` beside MPI's own all-reduce, in one launch."""
    contenders = Contenders(("fp32", "e4m3"), algorithms=("automatic",), baselines=())
    return Plan(EVERYWHERE, contenders, NEVER_SLOWER_EFFORT, name=NEVER_SLOWER)


def narrowed(
    plan: Plan,
    networks: Sequence[str] | None,
    ranks: Sequence[int] | None,
    sizes: SizeRange | None,
) -> Plan:
    """Only these of its places; other sizes there. None leaves all as it is."""
    places = [
        dataclasses.replace(place, sizes=sizes or place.sizes)
        for place in plan.places
        if (not networks or place.network in networks) and (not ranks or place.ranks in ranks)
    ]
    if not places:
        has = ", ".join(place.name for place in plan.places)
        raise ValueError(f"none of the plan's places is left; it has {has}")
    return dataclasses.replace(plan, places=tuple(places))


def within(plan: Plan, seconds: float, cores: int) -> Plan:
    """The plan with the time limit for a size with which it takes about so long in all."""

    def limited(limit: float) -> Plan:
        effort = dataclasses.replace(plan.effort, time_limit=limit)
        return dataclasses.replace(plan, effort=effort)

    def total(limit: float) -> float:
        estimate = Estimate(limited(limit), cores)
        return sum(estimate.model.values())

    low, high = LIMITS
    if total(low) > seconds:
        raise ValueError(
            f"{seconds / 60:.0f} minutes: this plan takes about {total(low) / 60:.0f} at least;"
            " fewer places, sizes or launches take less"
        )
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if total(middle) <= seconds else (low, middle)
    return limited(round(low, 3))
