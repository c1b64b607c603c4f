"""Under bare mpirun or srun torch finds no RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

Where they are unset they are filled in here: rank and size from the launcher's variables, an
address of rank 0 that every rank reaches and a free port on it by agreement over MPI.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import warnings

from . import _C
from .errors import Error

_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_CONNECT_SECONDS = 2.0


def fill_in_environment() -> None:
    """Sets what is unset of the four variables, if a launcher started this process."""
    launched = launched_as(os.environ)
    if launched is None or all(name in os.environ for name in _NAMES):
        return
    rank, size = launched
    if size == 1:
        _set_unset(rank, size, "127.0.0.1", _free_port())
        return
    try:
        world = _C.AllRanks()
    except Error as error:
        warnings.warn(f"cpdcomm: started by a launcher, but without MPI: {error}", stacklevel=3)
        return
    if world.size != size:
        warnings.warn(
            f"cpdcomm: the launcher started {size} processes, but MPI connects {world.size}: "
            "start them with this MPI's mpirun, or with srun --mpi=pmix",
            stacklevel=3,
        )
        return
    _set_unset(world.rank, size, *_agree_on_address(world))


def launched_as(environ: dict[str, str] | os._Environ[str]) -> tuple[int, int] | None:
    """Rank and size from the launcher's variables; None where no launcher is seen.

    Open MPI's come first, then PMIx's, which srun sets without Open MPI's, then MPICH's. Inside a
    batch script SLURM_PROCID and SLURM_NTASKS belong to the script and say nothing about MPI.
    """
    for rank, sizes in (
        ("OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
        ("PMIX_RANK", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
        ("PMI_RANK", ("PMI_SIZE",)),
    ):
        if rank not in environ:
            continue
        for size in sizes:
            if size in environ:
                return int(environ[rank]), int(environ[size])
    return None


def network() -> str:
    """The network of a new group: what CPDCOMM_TRANSPORT asks for, else what the launcher brings.

    That is MPI under mpirun and srun where it can be had, and UCX where nobody started MPI:
    torchrun gives its workers the variables of the srun that started it, which are not theirs.
    """
    asked = _C.environment_transport()
    if asked != "auto":
        return asked
    if "TORCHELASTIC_RUN_ID" in os.environ or launched_as(os.environ) is None:
        return "ucx"
    try:
        return "mpi" if _C.mpi_size() > 1 else "ucx"
    except Error:
        return "ucx"


def _set_unset(rank: int, size: int, address: str, port: int) -> None:
    for name, value in zip(_NAMES, (rank, size, address, port), strict=True):
        os.environ.setdefault(name, str(value))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _agree_on_address(world: _C.AllRanks) -> tuple[str, int]:
    """An address of rank 0 that all ranks have reached, and a port that was free on it.

    Host names may not resolve, and hosts may share a name and not a network: so rank 0 listens, all
    try its addresses, and a secret tells its answer from a stranger's.
    """
    listener = _Listener() if world.rank == 0 else None
    offer = json.loads(world.broadcast(listener.offer() if listener else b""))
    reached = 0
    for bit, address in enumerate(offer["addresses"]):
        reached |= _answers(address, offer["port"], offer["secret"]) << bit
    everybody = world.allgather(reached)
    if listener:
        listener.close()
    for bit, address in enumerate(offer["addresses"]):
        if all(mask >> bit & 1 for mask in everybody):
            return address, offer["port"]
    raise Error(f"no address of rank 0 is reached by every rank; tried {offer['addresses']}")


def _answers(address: str, port: int, secret: str) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_SECONDS) as connection:
            return connection.recv(len(secret)) == secret.encode()
    except OSError:
        return False


class _Listener:
    """Rank 0's end: answers every connection with the secret until it is closed."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("", 0), backlog=1024)
        self._secret = secrets.token_hex(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def offer(self) -> bytes:
        port = self._socket.getsockname()[1]
        return json.dumps(
            {"addresses": _own_addresses(), "port": port, "secret": self._secret}
        ).encode()

    def close(self) -> None:
        # Closing alone does not wake a thread that waits in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(_CONNECT_SECONDS)
                try:
                    connection.sendall(self._secret.encode())
                    # The other end closes first: the port is free again at once.
                    connection.recv(1)
                except OSError:
                    pass


def _own_addresses() -> list[str]:
    """This host's IPv4 addresses, loopback first (best where all ranks share the host)."""
    found = ["127.0.0.1"]
    for name in (socket.gethostname(), socket.getfqdn()):
        try:
            found += [info[4][0] for info in socket.getaddrinfo(name, None, socket.AF_INET)]
        except OSError:
            continue
    found += _interface_addresses()
    return list(dict.fromkeys(found))


def _interface_addresses() -> list[str]:
    import fcntl
    import struct

    get_address = 0x8915  # SIOCGIFADDR of Linux
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, get_address, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found
