"""The launches of a sweep, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cpdperf.sweep.matrix import CPD, Contenders, Effort, Place
from cpdperf.sweep.sizes import SizeRange


@dataclass(frozen=True)
class Launch:
    """One start of a program in one place; `number` counts the starts of its kind there."""

    place: Place
    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.place.name}-{self.kind}-{self.number}"

    @property
    def checks(self) -> bool:
        """Whether sums are checked: once is enough, because every launch gives the same bits."""
        return self.number == 0


@dataclass(frozen=True)
class Plan:
    """What is measured, where, and how often."""

    places: tuple[Place, ...]
    contenders: Contenders
    effort: Effort
    input: str = "random"
    seed: int = 1
    name: str = "matrix"  # or of the plan that says what comes of it
    tuning: tuple[tuple[str, str], ...] = ()  # networks, and the tables for `automatic` there

    def launches(self) -> list[Launch]:
        """All launches; in each place all kinds take turns.

        What disturbs the machine for a while then disturbs all kinds alike.
        """
        kinds = (CPD, *self.contenders.baselines)
        return [
            Launch(place, kind, number)
            for place in self.places
            for number in range(self.effort.launches)
            for kind in kinds
        ]

    def settings(self) -> dict[str, object]:
        """The plan as JSON has it: two runs with equal settings may be joined."""
        places = [
            {"network": place.network, "ranks": place.ranks, "sizes": str(place.sizes)}
            for place in self.places
        ]
        contenders = {name: list(value) for name, value in asdict(self.contenders).items()}
        rest = {"input": self.input, "seed": self.seed, "plan": self.name}
        rest["tuning"] = dict(self.tuning)
        return {"places": places, **contenders, **asdict(self.effort), **rest}


def plan_from(settings: dict[str, object]) -> Plan:
    """The plan that has these settings."""
    places = tuple(
        Place(entry["network"], entry["ranks"], SizeRange.parse(entry["sizes"]))
        for entry in settings["places"]
    )
    names = Contenders.__dataclass_fields__
    contenders = Contenders(**{name: tuple(settings[name]) for name in names if name in settings})
    effort = Effort(**{name: settings[name] for name in Effort.__dataclass_fields__})
    rest = {"name": settings.get("plan", "matrix")}
    rest["tuning"] = tuple(settings.get("tuning", {}).items())
    return Plan(places, contenders, effort, settings["input"], settings["seed"], **rest)


def by_place(launches: Sequence[Launch]) -> list[tuple[Place, list[Launch]]]:
    """Consecutive launches of the same place together, so that its network is made once."""
    groups: list[tuple[Place, list[Launch]]] = []
    for launch in launches:
        if not groups or groups[-1][0] != launch.place:
            groups.append((launch.place, []))
        groups[-1][1].append(launch)
    return groups
