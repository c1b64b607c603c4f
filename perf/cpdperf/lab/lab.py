"""The lab as an object: bring it up, run programs on it, count bytes, take it down."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import IO

from cpdperf.lab import links, namespaces, state
from cpdperf.lab.counters import Counters, read_counters
from cpdperf.lab.errors import LabError
from cpdperf.lab.launchers import LAUNCHERS, Job
from cpdperf.lab.processes import run_together
from cpdperf.lab.rates import checked_rate
from cpdperf.lab.signals import held_back
from cpdperf.lab.tools import find, require_root

# Asked for before anything is made; the launchers ask for their own.
NEEDED = ("ip", "tc", "unshare", "setpriv", "taskset", "mount", "hostname")


class Lab:
    """N hosts on one machine, connected by a switch over links of a limited rate.

        with interruptible(), Lab(hosts=4, rate_mbit=1000) as lab:
            with lab.counting() as counted:
                code = lab.run(["cpd-allreduce-perf", "-J", "out.json"], ranks=4)
            print(code, [host.sent_bytes for host in counted])
            lab.set_rate(100)

    rate_mbit None means no limit. Without a name the lab has one of its own; a name that is taken
    is an error. Leaving the `with` ends all that runs in the lab and removes it.
    """

    def __init__(
        self,
        hosts: int = 4,
        rate_mbit: int | None = None,
        name: str | None = None,
        mtu: int = 1500,
    ) -> None:
        self.settings = state.Settings(name or own_name(), hosts, checked_rate(rate_mbit), mtu)
        self.settings.check()

    @classmethod
    def attach(cls, name: str) -> "Lab":
        """The lab of this name that is up, made by another process perhaps."""
        require_root()
        settings = state.load(name)
        return cls(settings.hosts, settings.rate_mbit, settings.name, settings.mtu)

    def __enter__(self) -> "Lab":
        self.up()
        return self

    def __exit__(self, *reason: object) -> None:
        self.down()

    def up(self) -> None:
        """Makes the hosts; all of them or, after an error or an interrupt, none."""
        require_root()
        for program in NEEDED:
            find(program)
        claimed = False
        try:
            with held_back():
                state.claim(self.settings.name)
                claimed = True
            state.write_hosts_file(self.settings)
            links.create_switch(self.settings)
            for host in range(self.settings.hosts):
                links.create_host(self.settings, host)
            links.limit_links(self.settings)
            state.save(self.settings)
        except BaseException:
            if claimed:  # else it is the lab of another
                self.down()
            raise

    def down(self) -> None:
        """Removes the lab and ends what runs in it; silent where it is not up."""
        take_down(self.settings.name)

    def set_rate(self, rate_mbit: int | None) -> None:
        """Changes the rate of all links, while programs run, too."""
        self.settings = replace(self.settings, rate_mbit=checked_rate(rate_mbit))
        links.limit_links(self.settings)
        state.save(self.settings)

    def run(
        self,
        command: list[str],
        ranks: int | None = None,
        per_host: int = 1,
        launcher: str = "openmpi",
        pin: bool = True,
        limit: float | None = None,
        environment: Mapping[str, str] | None = None,
        output: IO | int | None = None,
    ) -> int:
        """Runs ranks of a program, `per_host` on each host, and returns its exit code.

        ranks: as many as fit, if None. pin: rank i runs on core i % cores. limit: seconds, after
        which all is ended and the code is 124. environment: in addition to this process's; what
        it says of OMPI_MCA_... or UCX_... wins over the lab. output: a file that takes the
        program's standard output. An interrupt ends all ranks.
        """
        if launcher not in LAUNCHERS:
            raise LabError(f"launcher '{launcher}': allowed are {', '.join(LAUNCHERS)}")
        if limit is not None and limit <= 0:
            raise LabError(f"limit {limit:g}: more than 0 seconds are needed")
        ranks = self.settings.hosts * per_host if ranks is None else ranks
        variables = {**os.environ, **(environment or {})}
        job = Job(self.settings, command, ranks, per_host, pin, variables)
        job.check()
        return run_together(LAUNCHERS[launcher](job), limit, output)

    def enter(self, host: int) -> list[str]:
        """The words to put before a command that is to run on this host."""
        if not 0 <= host < self.settings.hosts:
            raise LabError(
                f"host {host}: lab '{self.settings.name}' has hosts 0 to {self.settings.hosts - 1}"
            )
        return namespaces.enter(self.settings.name, host)

    def counters(self) -> list[Counters]:
        """What each host has sent and received since the lab is up."""
        return read_counters(self.settings)

    @contextmanager
    def counting(self) -> Iterator[list[Counters]]:
        """Yields a list that holds, after the `with`, what each host sent and received in it."""
        counted: list[Counters] = []
        before = self.counters()
        yield counted
        counted += [now.since(then) for now, then in zip(self.counters(), before, strict=True)]


def own_name() -> str:
    """A name that no other process takes."""
    return f"cpdlab-p{os.getpid()}"


def take_down(name: str) -> None:
    """Removes what there is of a lab, half a one, too."""
    state.check_name(name)
    require_root()
    with held_back():
        for namespace in namespaces.existing(name):
            namespaces.delete(namespace)
        state.release(name)
