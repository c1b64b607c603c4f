"""How long launches take: a model, corrected by what the launches so far took."""

from __future__ import annotations

from collections.abc import Sequence

from cpdperf.sweep.bits import bits_of
from cpdperf.sweep.matrix import CPD, GLOO, OPENMPI_NUMBERS, Contenders, Place
from cpdperf.sweep.plan import Launch, Plan

# Measured on four cores, 2026-11; launches correct them soon.
START_SECONDS = 0.7
GLOO_START_SECONDS = 3.0
LATENCY_SECONDS = 50e-6  # of one message over TCP, host or lab
HOST_MBIT = 15_000  # what a rank sends through shared memory, with others beside it
BYTES_PER_SECOND = 1e9  # of FP32 that a core encodes, adds and decodes, all passes together
CHECK_BYTES_PER_SECOND = 0.15e9  # of FP32, where the ranks share the work of checking a sum
SLOWNESS = {1: 3.0, 2: 2.0, 3: 1.5}  # of Open MPI's algorithms that send more than is needed
FEWEST_ITERATIONS = 3
ENOUGH_SECONDS = 20.0  # of launches elsewhere, to trust what they say by half
TIME_OF_BOUND = 1.15  # of a good implementation, as a share of what the link allows


def wires_of(launch: Launch, plan: Plan) -> list[str]:
    """The formats on the wire, once for each contender of a launch."""
    if launch.kind == GLOO:
        return ["fp32", "bf16"]
    if launch.kind != CPD:
        return ["fp32"]
    asked = plan.contenders
    return ["fp32", *(wire for wire in asked.wires for _ in range(ways(wire, asked)))]


def ways(wire: str, asked: Contenders) -> int:
    """In how many ways a format is summed: what cannot be is left out."""
    in_blocks = wire.startswith(("bfp", "int", "mx", "sign"))
    sums = 0
    for accumulate in asked.accumulate:
        if accumulate == "exact":
            sums += len(asked.result) * wire.startswith(("bfp", "int"))
        elif accumulate == "majority":
            sums += wire.startswith("sign")
        elif not in_blocks:
            sums += 1 if wire == "fp32" else len(asked.scaling)
        else:
            sums += accumulate == "wide"
    return sums * len(asked.algorithms) * len(asked.rounding)


def call_seconds(place: Place, wire: str, size: int, cores: int) -> float:
    """One all-reduce: messages in a row, bytes over the link, work of the cores."""
    ranks = place.ranks
    sent = size * bits_of(wire) / 32 * 2 * (ranks - 1) / ranks
    rate = (place.rate_mbit or HOST_MBIT) * 1e6 / 8
    crowding = max(1.0, ranks / cores)
    work = crowding * size / BYTES_PER_SECOND
    return 2 * (ranks - 1) * LATENCY_SECONDS * crowding + TIME_OF_BOUND * sent / rate + work


def rounds_seconds(round_seconds: float, plan: Plan) -> float:
    """The warm-up and the timed rounds of one size, cut by the time limit."""
    fewest = (1 + FEWEST_ITERATIONS) * round_seconds
    asked = (1 + plan.effort.iterations) * round_seconds
    return max(fewest, min(asked, plan.effort.time_limit + round_seconds / 2))


def model_seconds(launch: Launch, plan: Plan, cores: int) -> float:
    """A launch before anything is known of this machine."""
    place, wires = launch.place, wires_of(launch, plan)
    crowding = max(1.0, place.ranks / cores)
    total = (GLOO_START_SECONDS if launch.kind == GLOO else START_SECONDS) * crowding
    slowness = SLOWNESS.get(OPENMPI_NUMBERS.get(launch.kind), 1.0)
    for size in place.sizes.sizes():
        round_seconds = slowness * sum(call_seconds(place, wire, size, cores) for wire in wires)
        total += round_seconds + rounds_seconds(round_seconds, plan)  # a round is not timed
        if launch.checks:
            total += crowding * len(wires) * size / CHECK_BYTES_PER_SECOND
    return total


class Estimate:
    """Seconds of each launch of a plan; `learn` what one took."""

    def __init__(self, plan: Plan, cores: int) -> None:
        self.model = {launch: model_seconds(launch, plan, cores) for launch in plan.launches()}
        self.taken: dict[Launch, float] = {}

    def learn(self, launch: Launch, seconds: float) -> None:
        self.taken[launch] = seconds

    def seconds(self, launch: Launch) -> float:
        return self.model[launch] * self._correction(launch)

    def total(self, launches: Sequence[Launch]) -> float:
        return sum(self.seconds(launch) for launch in launches)

    def _correction(self, launch: Launch) -> float:
        """Taken over modelled, of the launches most like this one."""
        same_kind = [done for done in self.taken if done.kind == launch.kind]
        same_place = [done for done in same_kind if done.place == launch.place]
        if same_place:
            return self._ratio(same_place, prior=0.0)
        return self._ratio(same_kind or list(self.taken), prior=ENOUGH_SECONDS)

    def _ratio(self, launches: Sequence[Launch], prior: float) -> float:
        """Short launches elsewhere tell little: `prior` seconds, as modelled, are added."""
        taken = sum(self.taken[launch] for launch in launches)
        return (taken + prior) / (sum(self.model[launch] for launch in launches) + prior)
