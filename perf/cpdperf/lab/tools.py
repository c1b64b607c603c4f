"""The programs of the system that the lab calls, and how it calls them."""

import os
import shutil
import subprocess

from cpdperf.lab.errors import LabError

PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "mount": "mount",
    "hostname": "hostname",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "unshare": "util-linux",
    "mpirun.openmpi": "openmpi-bin",
    "mpiexec.hydra": "mpich",
}
"""The Debian package of each program."""


def find(program: str) -> str:
    """The path of a program; the folders of the administrator are searched, too."""
    folders = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    path = shutil.which(program, path=folders)
    if path is None:
        package = PACKAGES[program]
        raise LabError(f"{program} is not installed: apt-get install {package}")
    return path


def call(*command: str, text: str | None = None) -> str:
    """Runs a command to its end and returns what it printed; raises LabError where it fails."""
    done = subprocess.run(
        [find(command[0]), *command[1:]],
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; the command ends what it began
    )
    if done.returncode != 0:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise LabError(f"{' '.join(command)}: {reason}")
    return done.stdout


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: run perf/lab as root, or with sudo")
