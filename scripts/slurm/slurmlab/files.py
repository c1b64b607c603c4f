"""What munge and Slurm read and write: one folder, the same for all nodes, gone with the lab."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cpdperf.lab import state

MEMORY_SHARE = 0.8  # of the machine's, for each node: they share it, as they share the cores


@dataclass(frozen=True)
class Files:
    """The folder of one lab's Slurm."""

    lab: str

    @property
    def folder(self) -> Path:
        return state.ROOT / self.lab / "slurm"

    @property
    def configuration(self) -> Path:
        """What SLURM_CONF names; mpi.conf and cgroup.conf lie beside it."""
        return self.folder / "slurm.conf"

    @property
    def munge_key(self) -> Path:
        return self.folder / "munge.key"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge.socket"

    def log(self, daemon: str) -> Path:
        return self.folder / f"{daemon}.log"

    def write(self, nodes: list[str], login: str) -> None:
        """Makes the folder for these nodes, whose controller runs on the host `login`."""
        self.folder.mkdir(mode=0o755)  # munged refuses folders that others may write to
        (self.folder / "state").mkdir()
        self.munge_key.touch(mode=0o600)
        self.munge_key.write_bytes(secrets.token_bytes(128))
        for name, text in {
            "slurm.conf": _SLURM.format(
                folder=self.folder,
                socket=self.munge_socket,
                nodes=",".join(nodes),
                login=login,
                cores=len(os.sched_getaffinity(0)),
                megabytes=int(_memory_bytes() * MEMORY_SHARE) >> 20,
            ),
            "mpi.conf": _MPI,
            "cgroup.conf": _CGROUP,
        }.items():
            (self.folder / name).write_text(text)


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# Every node believes that it owns the machine. Nothing needs cgroups, which containers lack.
_SLURM = """\
ClusterName=lab
SlurmctldHost={login}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={socket}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n.spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0
SwitchType=switch/none
ReturnToService=2
KillWait=5
NodeName={nodes} CPUs={cores} RealMemory={megabytes} State=UNKNOWN
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

# Files of a job's ranks, with names that are the same on all nodes: /dev/shm is each node's own.
_MPI = "PMIxCliTmpDirBase=/dev/shm\n"

# None is used; without this line slurmd looks for one to choose, and ends where it finds none.
_CGROUP = "CgroupPlugin=cgroup/v1\n"
