"""Runs the launches of a plan that a folder does not have yet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.folder import RunFolder
from cpdperf.sweep.launches import record, run_launch, wrong_values
from cpdperf.sweep.matrix import Place
from cpdperf.sweep.network import Network, NetworkError
from cpdperf.sweep.plan import Launch, Plan, by_place
from cpdperf.sweep.progress import Progress

OpenNetwork = Callable[[Place], AbstractContextManager[Network]]


@dataclass
class Run:
    """A plan on its way; `failed` and `wrong` name the launches that went so."""

    plan: Plan
    folder: RunFolder
    tool: Path
    open_network: OpenNetwork
    estimate: Estimate
    progress: Progress
    launch_limit: float | None = None
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def all(self, waiting: list[Launch]) -> None:
        """Runs them in their order; each place's network is made once."""
        self._note_earlier(waiting)
        for place, launches in by_place(waiting):
            ended: list[Launch] = []
            try:
                with self.open_network(place) as network:
                    for launch in launches:
                        self._one(launch, network)
                        ended.append(launch)
            except NetworkError as error:
                self._without_network([one for one in launches if one not in ended], error)

    def _one(self, launch: Launch, network: Network) -> None:
        limit = self.launch_limit or 60 + 5 * self.estimate.seconds(launch)
        with self.progress.during(launch):
            folder = self.folder.path.resolve() / "launches"
            found = run_launch(launch, self.plan, self.tool, network, folder, limit)
        if found["result"]:
            self.estimate.learn(launch, found["seconds"])
        self._keep(launch, found)

    def _without_network(self, launches: list[Launch], error: NetworkError) -> None:
        for launch in launches:
            self.progress.drop(launch)
            self._keep(launch, record(launch, 0.0, None, f"no network: {error}", ""))

    def _note_earlier(self, waiting: list[Launch]) -> None:
        """What was wrong before an interrupt is wrong still."""
        for launch in self.plan.launches():
            if launch not in waiting:
                self._note_wrong(launch, self.folder.finished(launch))

    def _keep(self, launch: Launch, found: dict[str, Any]) -> None:
        """Writes a record, and says at once what is not right."""
        self.folder.store(launch, found)
        if found["result"]:
            self._note_wrong(launch, found)
            return
        self.failed.append(launch.name)
        self.progress.say(f"FAILED {launch.name}: {found['reason']}\n{found['output']}".rstrip())

    def _note_wrong(self, launch: Launch, found: dict[str, Any]) -> None:
        lines = wrong_values(found["result"])
        if lines:
            self.wrong.append(launch.name)
        for line in lines:
            self.progress.say(f"WRONG RESULT {launch.name}: {line}")
