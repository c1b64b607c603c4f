"""Under bare mpirun or srun torch finds no RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

Where they are unset they are filled in here: rank and size at the import, from the launcher's
variables; an address of rank 0 that every rank reaches and a free port on it when a group is made,
by agreement over MPI. The import starts no MPI: a process that only casts is none of its ranks.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import secrets
import socket
import threading
import urllib.parse
import warnings
from collections.abc import Callable
from typing import Any

from . import _C
from .errors import Error, InvalidArgumentError, UnsupportedError

_CONNECT_SECONDS = 2.0
# Which process the launcher started; those that it starts in turn inherit the variable.
_LAUNCHED = "_CPDCOMM_LAUNCHED"
_JOB = (
    "PMIX_NAMESPACE",
    "OMPI_MCA_ess_base_jobid",
    "PMI_JOBID",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)
_THREADS_IN_TURN = 2  # MPI_THREAD_SERIALIZED, of every MPI


def register() -> None:
    """At the import: RANK and WORLD_SIZE where they are unset; the rest waits for a group."""
    launched = launched_as(os.environ)
    if launched is None:
        return
    os.environ.setdefault(_LAUNCHED, _own_mark(launched))
    if os.environ[_LAUNCHED].rpartition("/")[0] != _job(launched):  # of a launcher further out
        os.environ[_LAUNCHED] = _own_mark(launched)
    if is_worker():
        return
    for name, value in zip(("RANK", "WORLD_SIZE"), launched, strict=True):
        os.environ.setdefault(name, str(value))
    _warn_of_single_thread()
    _wrap_rendezvous()


def fill_in_address() -> None:
    """Sets MASTER_ADDR and MASTER_PORT where they are unset; all ranks of the launcher call.

    Raises:
        InvalidArgumentError: a ``CPDCOMM_*`` variable of some rank is wrong; every rank is told.
        UnsupportedError: MPI cannot be had, or does not connect the launcher's processes.
        Error: no address of rank 0 is reached by all ranks.
    """
    launched = launched_as(os.environ)
    if launched is None or is_worker() or _has_address():
        return
    size = launched[1]
    address, port = ("127.0.0.1", _free_port()) if size == 1 else _agree_on_address(size)
    os.environ.setdefault("MASTER_ADDR", address)
    os.environ.setdefault("MASTER_PORT", str(port))


def is_worker() -> bool:
    """Whether a launcher's process has started this one in turn, by spawning or forking it.

    Then the launcher's variables are its parent's: MPI would take it for the same rank.
    """
    launched = launched_as(os.environ)
    mark = os.environ.get(_LAUNCHED)
    if launched is None or mark is None:
        return False
    job, _, pid = mark.rpartition("/")
    return job == _job(launched) and int(pid) != os.getpid()


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


def network(world_size: int) -> str:
    """The network of a new group: what CPDCOMM_TRANSPORT asks for, else what the launcher brings.

    That is MPI under mpirun and srun where it can be had, and UCX where nobody started MPI:
    torchrun gives its workers the variables of the srun that started it, and so do processes that
    spawn or fork workers; a world of another size than the launcher's is none of its either.

    Args:
        world_size: ranks of the default group.

    Raises:
        UnsupportedError: MPI is asked for by processes that it would not connect.
    """
    asked = _C.environment_transport()
    if asked == "mpi":
        _require_own_mpi(world_size)
    if asked != "auto":
        return asked
    launched = launched_as(os.environ)
    if "TORCHELASTIC_RUN_ID" in os.environ or launched is None or is_worker():
        return "ucx"
    if launched[1] != world_size:
        return "ucx"
    try:
        return "mpi" if _C.mpi_size() > 1 else "ucx"
    except Error:
        return "ucx"


def _require_own_mpi(world_size: int) -> None:
    """Before MPI is started: what it would not connect, it aborts."""
    if is_worker():
        raise UnsupportedError(
            "CPDCOMM_TRANSPORT=mpi, but mpirun or srun did not start this process: one of its "
            "processes did, and MPI would take it for the same rank; 'ucx' and 'auto' are allowed"
        )
    launched = launched_as(os.environ)
    if launched is not None and launched[1] < world_size:
        raise UnsupportedError(
            f"CPDCOMM_TRANSPORT=mpi, but the launcher started {launched[1]} processes and the "
            f"group has {world_size} ranks: start as many with mpirun, or srun --mpi=pmix, or ask "
            "for CPDCOMM_TRANSPORT=ucx"
        )


def _job(launched: tuple[int, int]) -> str:
    """Names a rank of a launch."""
    return ",".join([*(os.environ.get(name, "") for name in _JOB), *map(str, launched)])


def _own_mark(launched: tuple[int, int]) -> str:
    return f"{_job(launched)}/{os.getpid()}"


def _has_address() -> bool:
    return "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ


def _warn_of_single_thread() -> None:
    """Where the program has started MPI without threads no group can be had of it."""
    level = _running_mpi()
    if level is not None and level < _THREADS_IN_TURN:
        warnings.warn(
            "cpdcomm: MPI was initialised without thread support (MPI_THREAD_SERIALIZED or "
            "MPI_THREAD_MULTIPLE is needed), so that no group goes over it: initialise it with "
            "MPI_Init_thread",
            stacklevel=4,
        )


def _running_mpi() -> int | None:
    """What it allows threads, if the program has started an MPI whose symbols can be seen."""
    program = ctypes.CDLL(None)
    flag, level = ctypes.c_int(), ctypes.c_int()
    try:
        program.MPI_Initialized(ctypes.byref(flag))
        if not flag.value:
            return None
        program.MPI_Finalized(ctypes.byref(flag))
        if flag.value:
            return None
        program.MPI_Query_thread(ctypes.byref(level))
    except AttributeError:
        return None
    return level.value


def _wrap_rendezvous() -> None:
    """Lets env:// find an address: torch asks for it when the default group is made."""
    handlers = importlib.import_module("torch.distributed.rendezvous")._rendezvous_handlers
    handlers["env"] = _finding_an_address(handlers["env"])


def _finding_an_address(handler: Callable[..., Any]) -> Callable[..., Any]:
    def rendezvous(url: str, *args: Any, **kwargs: Any) -> Any:
        asked = urllib.parse.parse_qs(urllib.parse.urlparse(url).query).get("world_size")
        size = asked[0] if asked else os.environ.get("WORLD_SIZE")
        launched = launched_as(os.environ)
        if launched is not None and size == str(launched[1]):
            fill_in_address()
        return handler(url, *args, **kwargs)

    return rendezvous


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _agree_on_address(size: int) -> tuple[str, int]:
    """An address of rank 0 that all ranks have reached, and a port that was free on it.

    Host names may not resolve, and hosts may share a name and not a network: so rank 0 listens, all
    try its addresses, and a secret tells its answer from a stranger's.
    """
    rank = _own_rank(size)
    listener = _Listener() if rank == 0 else None
    try:
        offer = _exchange({"trouble": _trouble(), **(listener.offer() if listener else {})})
        reached = [
            _answers(address, offer["port"], offer["secret"]) for address in offer["addresses"]
        ]
        everybody = _C.mpi_allgather(json.dumps(reached).encode())
    finally:
        if listener:
            listener.close()
    for address, *all_reach in zip(offer["addresses"], *map(json.loads, everybody), strict=True):
        if all(all_reach):
            return address, offer["port"]
    raise Error(f"no address of rank 0 is reached by every rank; tried {offer['addresses']}")


def _own_rank(size: int) -> int:
    """In MPI, which is started here.

    Raises:
        UnsupportedError: it cannot be had, or does not connect the launcher's processes.
    """
    hint = "start them with this MPI's mpirun, or with srun --mpi=pmix, or set MASTER_ADDR and "
    hint += "MASTER_PORT"
    try:
        connected = _C.mpi_size()
    except Error as error:
        raise UnsupportedError(
            f"started by a launcher, but without MPI, over which {size} processes would agree on "
            f"an address: {error}; {hint}"
        ) from None
    if connected != size:
        raise UnsupportedError(
            f"the launcher started {size} processes, but MPI connects {connected}: {hint}"
        )
    return _C.mpi_rank()


def _trouble() -> str | None:
    """What is wrong with this rank's variables, before its peers wait for it in vain."""
    try:
        _C.environment_transport()
    except Error as error:
        return str(error)
    return None


def _exchange(mine: dict[str, Any]) -> dict[str, Any]:
    """What rank 0 offers.

    Raises:
        InvalidArgumentError: some rank is in trouble.
    """
    everybody = [json.loads(one) for one in _C.mpi_allgather(json.dumps(mine).encode())]
    if mine["trouble"]:
        raise InvalidArgumentError(mine["trouble"])
    for rank, one in enumerate(everybody):
        if one["trouble"]:
            raise InvalidArgumentError(f"rank {rank}: {one['trouble']}")
    return everybody[0]


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

    def offer(self) -> dict[str, Any]:
        port = self._socket.getsockname()[1]
        return {"addresses": _own_addresses(), "port": port, "secret": self._secret}

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
