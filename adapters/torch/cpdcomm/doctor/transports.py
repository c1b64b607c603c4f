"""Which transports the package has, and which of them can be loaded here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .problems import BUILD_AGAIN, Problem, not_loadable

NAMES = {"mpi": "MPI", "ucx": "UCX"}
_PACKAGES = {"mpi": "libopenmpi-dev openmpi-bin", "ucx": "libucx-dev"}
_LAUNCHERS = {
    "Open MPI": ("mpirun.openmpi", "mpirun", "mpiexec"),
    "MPICH": ("mpiexec.hydra", "mpirun.mpich", "mpirun"),
}
_PROBE_SECONDS = 30.0


@dataclass(frozen=True)
class Transport:
    """One of the ways between ranks.

    Attributes:
        name: as in CPDCOMM_TRANSPORT.
        module: the file of the package that holds it; None where there is none.
        library: the library behind it, with its version; None where it cannot be loaded.
        launcher: mpirun, of MPI alone; None where there is none.
        problem: why it cannot be used; None where it can.
    """

    name: str
    module: str | None = None
    library: str | None = None
    launcher: str | None = None
    problem: Problem | None = None


def find(name: str) -> Transport:
    """Looks for a transport; what is in its way becomes its problem."""
    module = Path(__file__).parents[1] / f"libcpdcomm_{name}.so"
    if not module.exists():
        return Transport(name, problem=_not_built(name, module))
    answer = _probe(name, module)
    if "error" in answer:
        error = answer["error"]
        what = f"the module of {NAMES[name]} cannot be loaded: {error}"
        return Transport(name, str(module), problem=Problem(what, not_loadable(error)))
    library = answer["library"]
    if name != "mpi":
        return Transport(name, str(module), library)
    launcher = _launcher(library)
    problem = None if launcher else _no_launcher(library)
    return Transport(name, str(module), library, launcher, problem)


def _not_built(name: str, module: Path) -> Problem:
    return Problem(
        f"this package was built without {NAMES[name]}: there is no {module}",
        f"if you want {NAMES[name]}: apt-get install {_PACKAGES[name]}, then {BUILD_AGAIN}",
    )


def _no_launcher(library: str) -> Problem:
    return Problem(
        f"{library} is there, but no mpirun of it on the PATH, which is {os.environ.get('PATH')}",
        "apt-get install openmpi-bin, or add the folder of mpirun to PATH; srun --mpi=pmix and "
        "torchrun (over UCX) need none",
    )


def _probe(name: str, module: Path) -> dict[str, str]:
    command = [sys.executable, str(Path(__file__).with_name("probe.py")), name, str(module)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"to load it takes more than {_PROBE_SECONDS:g} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": last}
    return json.loads(done.stdout)


def _launcher(library: str) -> str | None:
    """The one of this MPI, where several are installed."""
    for of_library, programs in _LAUNCHERS.items():
        if library.startswith(of_library):
            return next(filter(None, map(shutil.which, programs)), None)
    return shutil.which("mpirun")
