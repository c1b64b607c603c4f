"""What can be wrong, in plain words, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do: a package to install, a variable to set."""

    what: str
    do: str


BUILD_AGAIN = "build the package again with the Python and torch that run it, as scripts/setup does"
PACKAGES = {
    "libmpi": "libopenmpi-dev openmpi-bin",
    "libucp": "libucx-dev",
    "libucs": "libucx-dev",
    "libhwloc": "libhwloc-dev",
    "libhwy": "libhwy-dev",
}
"""The Debian packages of the libraries that the package is linked to."""

_ADVICE = (
    (
        r"Read -1, expected|process_vm_readv|ptrace",
        "the kernel forbids MPI to copy between processes, as in many containers: set "
        "OMPI_MCA_btl_vader_single_copy_mechanism=none, or give the container SYS_PTRACE",
    ),
    (
        r"plm_rsh_agent",
        "mpirun looks for ssh even where it needs none: apt-get install openssh-client, or set "
        "OMPI_MCA_plm=isolated on a machine by itself",
    ),
    (
        r"UCX.*(unreachable|no usable transports|knows no way|cannot be started)|"
        r"(network device|transport) '.*' is not available",
        "UCX finds no network that both processes have: unset UCX_TLS and UCX_NET_DEVICES, or let "
        "them allow tcp and an interface that `ip link` shows; UCX_LOG_LEVEL=info tells more",
    ),
)
_ELSE = {
    "mpi": "try `mpirun -n 2 hostname`; with OMPI_MCA_btl_base_verbose=30 MPI tells more",
    "ucx": "with UCX_LOG_LEVEL=info UCX tells more; UCX_TLS=tcp,self takes its plainest way",
}


def not_loadable(error: str) -> str:
    """What to do about a library that the loader refused with these words."""
    missing = re.search(r"(lib\w+)[-.\w]*\.so[.\d]*: cannot open shared object file", error)
    if missing is None or re.match(r"lib(cpdcomm|torch|c10)", missing[1]):
        return BUILD_AGAIN
    packages = PACKAGES.get(missing[1])
    install = f"apt-get install {packages}, or " if packages else ""
    return f"{install}add the folder of {missing[1]} to LD_LIBRARY_PATH"


def failed_check(transport: str, said: str) -> str:
    """What to do about two processes that failed with these words."""
    for pattern, advice in _ADVICE:
        if re.search(pattern, said):
            return advice
    return _ELSE[transport]
