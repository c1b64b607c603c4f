"""Starting Slurm on the hosts of a lab, running commands on it, ending it.

Nodes 0 to N-1 of a lab of N + 1 hosts run slurmd; the last host is the login node, with munge and
slurmctld, where commands run. All of them, jobs too, live in the network namespaces of the lab, so
to remove these ends everything.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from cpdperf.lab import state
from cpdperf.lab.errors import LabError
from cpdperf.lab.lab import Lab, take_down
from cpdperf.lab.processes import Program, run_together
from slurmlab.files import Files

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "srun", "sbatch")
MOST_NODES = 64
START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_LINES = 5  # of a log, in an error


def start(name: str, nodes: int) -> list[str]:
    """Brings a Slurm up, all of it or nothing; returns the names of its nodes.

    Raises:
        LabError: it runs already, something is missing, or the nodes do not come up.
    """
    if not 1 <= nodes <= MOST_NODES:
        raise LabError(f"{nodes} nodes: allowed are 1 to {MOST_NODES}")
    _require_root()
    for program in PROGRAMS:
        find(program)
    if name in state.names():
        raise LabError(
            f"a lab '{name}' is running already: scripts/slurm/lab stop --name {name} ends it, "
            f"scripts/slurm/lab run --name {name} -- sinfo -N shows its nodes"
        )
    with_login = Lab(nodes + 1, None, name)
    with_login.up()
    try:
        return _Starting(with_login).run()
    except BaseException:
        with_login.down()
        raise


def stop(name: str) -> None:
    """Ends a Slurm and its jobs and removes all that there is of it; silent where it is not up."""
    _require_root()
    take_down(name)


def run(name: str, command: list[str], limit: float | None) -> int:
    """Runs a command on the login node and returns its exit code; 124 after `limit` seconds."""
    _require_root()
    state.check_name(name)
    if not Files(name).configuration.exists():
        raise LabError(f"no Slurm lab '{name}' is running: scripts/slurm/lab start --name {name}")
    lab = Lab.attach(name)
    return run_together([Program([*_login(lab), *command], _environment(name))], limit)


def find(program: str) -> str:
    """The path of one of Slurm's programs; the folders of the administrator are searched, too."""
    folders = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    path = shutil.which(program, path=folders)
    if path is None:
        raise LabError(f"{program} is not installed: apt-get install slurm-wlm")
    return path


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("nodes with a network of their own need root: run it as root, or with sudo")


def _login(lab: Lab) -> list[str]:
    """The words before a command that is to run on the login node."""
    return lab.enter(lab.settings.hosts - 1)


def _environment(name: str) -> dict[str, str]:
    """For Slurm's commands, and so for the jobs."""
    # The nodes share the cores: a rank that waits for another lets it run.
    defaults = {"OMPI_MCA_mpi_yield_when_idle": "1"}
    return {**defaults, **os.environ, "SLURM_CONF": str(Files(name).configuration)}


class _Starting:
    """A Slurm on its way up."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.files = Files(lab.settings.name)
        hosts = range(lab.settings.hosts)
        *self.nodes, self.login = [state.host_name(lab.settings.name, host) for host in hosts]
        self.daemons: dict[str, subprocess.Popen] = {}
        self.deadline = time.monotonic() + START_SECONDS

    def run(self) -> list[str]:
        self.files.write(self.nodes, self.login)
        self._start("munged", len(self.nodes), *self._munged())
        while not self.files.munge_socket.exists():
            self._wait("munge does not answer")
        self._start("slurmctld", len(self.nodes), find("slurmctld"), "-D", "-i")
        for host, node in enumerate(self.nodes):
            self._start(node, host, find("slurmd"), "-D", "-N", node)
        while (states := self._states()).count("idle") < len(self.nodes):
            self._wait(f"of {len(self.nodes)} nodes these are known: {', '.join(states) or 'none'}")
        return self.nodes

    def _munged(self) -> list[str]:
        folder = self.files.folder
        return [
            *(find("munged"), "--foreground", f"--key-file={self.files.munge_key}"),
            *(f"--socket={self.files.munge_socket}", f"--pid-file={folder}/munged.pid"),
            *(f"--seed-file={folder}/munged.seed", f"--log-file={folder}/munge.log"),
        ]

    def _start(self, daemon: str, host: int, *command: str) -> None:
        """In the background; it outlives this process and ends with the lab."""
        with self.files.log(f"{daemon}.out").open("w") as output:
            self.daemons[daemon] = subprocess.Popen(
                [*self.lab.enter(host), *command],
                env=_environment(self.lab.settings.name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _states(self) -> list[str]:
        """Of the nodes that slurmctld knows, one word each."""
        asked = subprocess.run(
            [*_login(self.lab), find("sinfo"), "--noheader", "--Node", "--format=%T"],
            env=_environment(self.lab.settings.name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return asked.stdout.split()

    def _wait(self, why: str) -> None:
        """A moment; an error where a daemon has ended, or the time is over."""
        for daemon, process in self.daemons.items():
            if process.poll() is not None:
                raise LabError(f"{daemon} has ended by itself:\n{self._last_words()}")
        if time.monotonic() > self.deadline:
            raise LabError(f"not up after {START_SECONDS:g} s, {why}:\n{self._last_words()}")
        time.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        """The ends of all logs, which go with the lab."""
        return "\n".join(map(_tail, sorted(self.files.folder.glob("*.log"))))


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LINES:]
    return "\n".join(f"  {log.stem}: {line}" for line in lines)
