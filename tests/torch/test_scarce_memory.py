"""A /dev/shm that is small or shut, as in containers, and what each group costs that is kept.

As root, for a /dev/shm of the test's own.
"""

import json
import sys

import mpirun
import private_memory
import pytest

RANKS = 4
SECONDS = 300.0
# Of a group over UCX: 4, and a socket for each peer, as gloo's has; or two that met half-way.
UCX_DESCRIPTORS = 4 + 2 * (RANKS - 1)


@pytest.fixture(autouse=True)
def own_memory():
    private_memory.needed()


def job(folder, launcher, options, **environment):
    """What each rank found, and what was said."""
    command = mpirun.launch_command(launcher, RANKS, mpirun.CHECKS / "scarce.py")
    command = private_memory.command(options, *command, folder)
    end = mpirun.run(command, SECONDS, CPDCOMM_DEBUG="info", **environment)
    assert end.code == 0, end.output
    found = [json.loads((folder / str(rank)).read_text()) for rank in range(RANKS)]
    for rank, one in enumerate(found):
        # The mesh has rows (0, 1) and (2, 3); a group along "rows" goes through both.
        assert one["sums"] == [2 * (rank % 2) + 2, 4 * (rank // 2) + 1, 6], (rank, one)
    return found, end.output


@pytest.mark.parametrize("options", ["size=64m", "size=1m", "ro"])
def test_memory_is_shared_all_the_same(tmp_path, options):
    """Without UCX, which would take its own part: no descriptor, and nothing in /dev/shm."""
    found, said = job(tmp_path, "torchrun", options)
    assert "4 ranks on 1 hosts\n" in said and "not all share memory" not in said, said
    for one in found:
        assert one["descriptors"] == 0 and one["used"] == 0, found


@pytest.mark.parametrize("options", ["size=1m", "ro"])
def test_ucx_does_without(tmp_path, options):
    found, said = job(tmp_path, "torchrun", options, CPDCOMM_SHARED_MEMORY="off")
    assert "4 ranks on 4 hosts" in said, said
    for one in found:
        assert one["descriptors"] <= UCX_DESCRIPTORS and one["used"] == 0, found


def test_mpi_does_without(tmp_path):
    _, said = job(tmp_path, "mpirun", "ro")
    assert "4 ranks on 1 hosts\n" in said and "not all share memory" not in said, said


PAIR = """
import sys, torch, torch.distributed as dist, cpdcomm
dist.init_process_group("cpd", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
x = torch.ones(100_000)
dist.all_reduce(x)
assert x.eq(2).all()
dist.destroy_process_group()
"""


def pair(folder, options, apart):
    """What two ranks say of which each is started by `apart`, and then what is in /dev/shm."""
    rank = f'{apart} "$0" -c "$1" "$2"'
    text = f"{rank} 0 & first=$!; {rank} 1 && wait $first && ls -A /dev/shm"
    words = ["sh", "-c", text, sys.executable, PAIR, f"file://{folder}/store"]
    command = private_memory.command(options, *words)
    end = mpirun.run(command, SECONDS, CPDCOMM_DEBUG="info", CPDCOMM_TRANSPORT="ucx")
    assert end.code == 0, end.output
    assert "cpdcomm-" not in end.output, end.output
    return end.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=8m", "2 ranks on 1 hosts\n"),
        ("size=1m", "not all share memory: rank"),  # then they go over UCX
        ("ro", "not all share memory: rank 0: shared memory of 16 bytes: shm_open: Read-only"),
    ],
)
def test_containers_that_share_only_dev_shm(tmp_path, options, said):
    """They do not see each other's processes, and meet by names, of which none is left."""
    found = pair(tmp_path, options, "unshare --pid --fork --mount-proc")
    assert said in found, found


def test_each_dev_shm_is_a_host(tmp_path):
    """Though they see each other's processes: so a lab has many hosts on one machine."""
    found = pair(tmp_path, "size=8m", f"unshare --mount sh -c '{private_memory.MOUNT}' size=8m")
    assert "2 ranks on 2 hosts" in found, found
