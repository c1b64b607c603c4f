"""A rank dies at some moment: every other one is told, nobody hangs, nothing crashes.

KILLS says how often it is tried for each launcher (3 for torchrun, 1 for mpirun).
"""

import json
import os
import random

import mpirun
import pytest
import warm

RANKS = 4
AT_ONCE = 80.0  # seconds, on a busy machine, of a timeout of 240
CRASHES = ("core dumped", "Segmentation fault", "signal 6", "signal 11", "terminate called")


def killed(launcher, folder, victim, seconds):
    """One job; what each survivor was told."""
    script = mpirun.CHECKS / "killed.py"
    if launcher == "torchrun":
        command = [*mpirun.torchrun_command(RANKS, warm.python()), script]
    else:
        recovery = ["--mca", "orte_enable_recovery", "1"]
        command = [*mpirun.mpirun_command(RANKS), *recovery, warm.python(), script]
    end = mpirun.run([*command, folder, victim, seconds], 400.0)
    assert not any(crash in end.output for crash in CRASHES), end.output
    told = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    assert set(told) == {str(rank) for rank in range(RANKS) if rank != victim}, end.output
    return told


def moments(launcher, fewest):
    """Victims and moments, the same in every run."""
    chance = random.Random(launcher)
    count = int(os.environ.get("KILLS", fewest))
    return [(chance.randrange(RANKS), round(chance.uniform(0, 1.5), 3)) for _ in range(count)]


@pytest.mark.parametrize("victim, seconds", moments("torchrun", 3))
def test_over_ucx_everybody_knows_at_once(tmp_path, victim, seconds):
    check(killed("torchrun", tmp_path, victim, seconds))


@pytest.mark.parametrize("victim, seconds", moments("mpirun", 1))
def test_over_mpi_everybody_knows_soon_inside_a_host(tmp_path, victim, seconds):
    """The end of a process on the same host is seen; between hosts the deadline would tell."""
    check(killed("mpirun", tmp_path, victim, seconds))


def check(told):
    for rank, found in told.items():
        assert found["error"] == "PeerFailedError", f"rank {rank}: {found}"
        assert found["late"] < AT_ONCE, f"rank {rank}: {found}"
        assert "rank " in found["text"], f"rank {rank}: {found}"


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
def test_a_rank_that_is_stopped(tmp_path, launcher):
    """Its peers know when the time is over, and whom they waited for."""
    end = mpirun.launch("stopped.py", 3, tmp_path, launcher=launcher)
    for rank in (0, 2):
        seconds, told = (tmp_path / str(rank)).read_text().split("\n", 1)
        assert 2.0 < float(seconds) < AT_ONCE, end.output
        assert "all" in told and ("TimeoutError" in told or "PeerFailedError" in told), told
    told = "".join((tmp_path / str(rank)).read_text() for rank in (0, 2))
    assert "TimeoutError: allreduce" in told and "rank 1" in told, told


def test_a_timeout_that_was_set_later(tmp_path):
    mpirun.launch("timeouts.py", 2, tmp_path / "done", launcher="torchrun")
    assert (tmp_path / "done").exists()


def test_torchrun_starts_again(tmp_path):
    script = mpirun.CHECKS / "elastic.py"
    command = [*mpirun.torchrun_command(3, warm.python()), "--max-restarts", "2", script, tmp_path]
    end = mpirun.run(command, 300.0)
    assert end.code == 0, end.output
    assert {path.name for path in tmp_path.iterdir()} == {"1-0", "1-1", "1-2"}, end.output
    assert {path.read_text() for path in tmp_path.iterdir()} == {"9.0"}
