"""Which labs there are: one folder for each below /run, gone when the lab is down."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cpdperf.lab.errors import LabError

ROOT = Path("/run/cpdlab")
MOST_HOSTS = 250
MTU_RANGE = (576, 9000)
# Every lab has a switch of its own, connected to nothing else: labs can share these addresses.
NETWORK = "10.77.0"


@dataclass(frozen=True)
class Settings:
    """What a lab was asked to be."""

    name: str
    hosts: int
    rate_mbit: int | None
    mtu: int = 1500

    def check(self) -> None:
        check_name(self.name)
        if not 1 <= self.hosts <= MOST_HOSTS:
            raise LabError(f"{self.hosts} hosts: allowed are 1 to {MOST_HOSTS}")
        if not MTU_RANGE[0] <= self.mtu <= MTU_RANGE[1]:
            raise LabError(f"mtu {self.mtu}: allowed are {MTU_RANGE[0]} to {MTU_RANGE[1]}")


def check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
        raise LabError(f"name '{name}': allowed are up to 32 of a-z, 0-9 and -, a letter first")


def host_name(lab: str, host: int) -> str:
    """Also the name of its namespace."""
    return f"{lab}-{host}"


def switch_name(lab: str) -> str:
    return f"{lab}-switch"


def address(host: int) -> str:
    return f"{NETWORK}.{host + 1}"


def hosts_file(lab: str) -> Path:
    """Becomes /etc/hosts inside the lab."""
    return ROOT / lab / "hosts"


def claim(name: str) -> None:
    """Takes the name; of two that ask at the same moment one is refused."""
    try:
        (ROOT / name).mkdir(parents=True)
    except FileExistsError:
        raise LabError(
            f"lab '{name}' is up already: perf/lab down --name {name} ends it, "
            "another --name makes a second one"
        ) from None


def write_hosts_file(lab: Settings) -> None:
    lines = ["127.0.0.1 localhost\n"]
    for host in range(lab.hosts):
        # The second is how gloo, on IPv6 sockets, asks for the name of an IPv4 address.
        for form in (address(host), f"::ffff:{address(host)}"):
            lines.append(f"{form} {host_name(lab.name, host)}\n")
    hosts_file(lab.name).write_text("".join(lines))


def save(settings: Settings) -> None:
    """Says that the lab is ready. Readers see the old settings or the new ones, never half."""
    folder = ROOT / settings.name
    (folder / "next.json").write_text(json.dumps(asdict(settings)) + "\n")
    (folder / "next.json").rename(folder / "settings.json")


def load(name: str) -> Settings:
    check_name(name)
    try:
        return Settings(**json.loads((ROOT / name / "settings.json").read_text()))
    except FileNotFoundError:
        raise LabError(f"lab '{name}' {_why_not_up(name)}") from None


def _why_not_up(name: str) -> str:
    if (ROOT / name).is_dir():
        return (
            "is not ready: it is being started, or what did so was killed; "
            f"perf/lab down --name {name} removes it"
        )
    return f"is not up: perf/lab up 4 --rate 1gbit --name {name} starts it"


def release(name: str) -> None:
    shutil.rmtree(ROOT / name, ignore_errors=True)
    with suppress(OSError):  # not there, or other labs still are
        ROOT.rmdir()


def names() -> list[str]:
    """All labs that are up or half up."""
    return sorted(folder.name for folder in ROOT.iterdir()) if ROOT.is_dir() else []
