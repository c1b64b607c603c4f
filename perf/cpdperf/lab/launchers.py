"""How Open MPI, MPICH, torchrun or nothing at all put one rank, or several, on each host.

A launcher turns a Job into programs that run side by side until all have ended.
"""

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from cpdperf.lab.errors import LabError
from cpdperf.lab.namespaces import ENTER_SCRIPT, enter
from cpdperf.lab.processes import Program
from cpdperf.lab.state import Settings, address, host_name, hosts_file
from cpdperf.lab.tools import find

ON_OWN_CORE = str(ENTER_SCRIPT.with_name("on-own-core"))
SSH = str(ENTER_SCRIPT.with_name("ssh-to-host"))
MASTER_PORT = "29500"


@dataclass(frozen=True)
class Job:
    """A command, and how many ranks of it go where: the first hosts are filled first."""

    lab: Settings
    command: list[str]
    ranks: int
    per_host: int
    pin: bool
    environment: dict[str, str]

    def check(self) -> None:
        if not self.command:
            raise LabError("no program: perf/lab run [options] -- PROGRAM ARGUMENTS")
        if self.per_host < 1 or self.ranks < 1:
            raise LabError(
                f"{self.ranks} ranks, {self.per_host} a host: at least 1 of both is needed"
            )
        most = self.lab.hosts * self.per_host
        if self.ranks > most:
            raise LabError(
                f"{self.ranks} ranks: lab '{self.lab.name}' has {self.lab.hosts} hosts, "
                f"with {self.per_host} on each at most {most}; see --per-host"
            )

    @property
    def hosts(self) -> int:
        return math.ceil(self.ranks / self.per_host)

    @property
    def host_list(self) -> str:
        """cpdlab-0:2,cpdlab-1:2 as both MPI libraries read it."""
        names = [host_name(self.lab.name, host) for host in range(self.hosts)]
        return ",".join(f"{name}:{self.per_host}" for name in names)

    def on_host(self, host: int, command: list[str], **defaults: str) -> Program:
        """A command on a host; what the caller's environment says wins over the defaults."""
        hosts = str(hosts_file(self.lab.name))
        environment = {**defaults, **self.environment, "CPDLAB_HOSTS": hosts}
        return Program([*enter(self.lab.name, host), *command], environment)

    def pinned(self, rank_variable: str) -> list[str]:
        """The command, its rank i on core i % cores where that is wanted."""
        if not self.pin:
            return self.command
        cores = " ".join(str(core) for core in sorted(os.sched_getaffinity(0)))
        return [ON_OWN_CORE, rank_variable, cores, *self.command]


def openmpi(job: Job) -> list[Program]:
    # As variables, not as options, so that an OMPI_MCA_... of the caller wins.
    settings = {
        "plm": "rsh",
        "plm_rsh_agent": SSH,
        "plm_rsh_no_tree_spawn": "1",
        "orte_keep_fqdn_hostnames": "1",
        "orte_tmpdir_base": "/dev/shm",  # private to the host, gone with it
        "oob_tcp_if_include": "eth0",
        "pml": "ob1",
        "btl": "tcp,self,vader" if job.per_host > 1 else "tcp,self",
        "btl_tcp_if_include": "eth0",
        "mpi_yield_when_idle": "1" if job.ranks > len(os.sched_getaffinity(0)) else "0",
    }
    command = [
        *(find("mpirun.openmpi"), "--allow-run-as-root", "--bind-to", "none", "--map-by", "slot"),
        *("-H", job.host_list, "-n", str(job.ranks), *job.pinned("OMPI_COMM_WORLD_RANK")),
    ]
    defaults = {f"OMPI_MCA_{name}": value for name, value in settings.items()}
    return [job.on_host(0, command, **defaults)]


def mpich(job: Job) -> list[Program]:
    command = [
        *(find("mpiexec.hydra"), "-launcher", "ssh", "-launcher-exec", SSH),
        *("-iface", "eth0", "-bind-to", "none", "-hosts", job.host_list),
        *("-n", str(job.ranks), *job.pinned("PMI_RANK")),
    ]
    # MPICH is built on UCX or on libfabric.
    defaults = {
        "UCX_TLS": "tcp,self,sm" if job.per_host > 1 else "tcp,self",
        "UCX_NET_DEVICES": "eth0",
        "FI_PROVIDER": "tcp",
        "FI_TCP_IFACE": "eth0",
    }
    return [job.on_host(0, command, **defaults)]


def torchrun(job: Job) -> list[Program]:
    if job.ranks != job.hosts * job.per_host:
        raise LabError(
            f"{job.ranks} ranks, {job.per_host} a host: torchrun puts equally many on each host"
        )
    meeting = ("--master-addr", address(0), "--master-port", MASTER_PORT)

    def node(host: int) -> list[str]:
        return [
            *(sys.executable, "-m", "torch.distributed.run", *meeting),
            *("--nnodes", str(job.hosts), "--node-rank", str(host)),
            *("--local-addr", address(host), "--nproc-per-node", str(job.per_host)),
            *("--no-python", *job.pinned("RANK")),
        ]

    return [
        job.on_host(host, node(host), GLOO_SOCKET_IFNAME="eth0", OMP_NUM_THREADS="1")
        for host in range(job.hosts)
    ]


def each(job: Job) -> list[Program]:
    if job.per_host != 1:
        raise LabError(f"{job.per_host} ranks a host: with the launcher each it is 1; try torchrun")
    programs = []
    for host in range(job.hosts):
        program = job.on_host(host, job.pinned("RANK"), GLOO_SOCKET_IFNAME="eth0")
        program.environment.update(
            RANK=str(host),
            WORLD_SIZE=str(job.ranks),
            LOCAL_RANK="0",
            LOCAL_WORLD_SIZE="1",
            MASTER_ADDR=address(0),
            MASTER_PORT=MASTER_PORT,
        )
        programs.append(program)
    return programs


LAUNCHERS: dict[str, Callable[[Job], list[Program]]] = {
    "openmpi": openmpi,
    "mpich": mpich,
    "torchrun": torchrun,
    "each": each,
}
