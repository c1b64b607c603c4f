"""How programs over backend cpd begin and end, in good and in bad ways."""

import sys

import mpirun
import pytest

SOON = 240.0  # seconds, on a busy machine, of half an hour that a group waits by default
UNCLEAN = "exiting improperly"  # what mpirun says of a rank that did not call MPI_Finalize


def run(scenarios, ranks, script="lifecycle.py", **environment):
    return mpirun.launch(script, ranks, *scenarios, **environment)


def ends_well(end, ranks):
    assert end.code == 0, end.output
    assert end.output.count("rank ends") == ranks, end.output
    assert UNCLEAN not in end.output, end.output


@pytest.mark.parametrize(
    "scenarios",
    [
        ["without_destroy"],
        ["without_waiting"],
        ["destroyed_and_made_again", "a_group_that_was_destroyed", "beside_another_backend"],
        ["late_end"],
        # A launch each: who begins again first may still find the store of the time before.
        ["the_next_group"],
        ["large_sums_that_failed"],
        ["mpi_ended_by_another"],
    ],
    ids=" ".join,
)
def test_an_end_like_any_other(scenarios):
    ends_well(run(scenarios, 2), 2)


def test_late_complaints():
    ends_well(run(["the_group_after_a_broadcast"], 4), 4)


@pytest.mark.parametrize("scenario", ["with_threads", "without_threads"])
def test_beside_a_program_that_uses_mpi(scenario):
    ends_well(run([scenario], 2, script="beside_mpi.py"), 2)


def test_ranks_in_another_order(tmp_path):
    ends_well(run(["ranks_in_another_order"], 3, STORE=str(tmp_path / "store")), 3)


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
@pytest.mark.parametrize(
    "scenario", ["forks_that_end", "forks_of_libraries", "forks_that_call", "forks_with_a_group"]
)
def test_forks(scenario, launcher, tmp_path):
    """What belongs to a process is torn down in that process alone."""
    end = mpirun.launch(
        "lifecycle.py",
        2,
        scenario,
        timeout=90.0,
        launcher=launcher,
        STORE=str(tmp_path / "store"),
    )
    ends_well(end, 2)


def test_one_rank():
    ends_well(run(["one_rank"], 1), 1)


def test_one_process_without_a_launcher():
    here = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    command = [sys.executable, mpirun.CHECKS / "lifecycle.py", "one_rank"]
    ends_well(mpirun.run(command, 300.0, **here), 1)


def test_a_rank_that_oversleeps_the_timeout():
    """A dead group, a process that goes on, and an end without waiting for whom nobody knows."""
    end = run(["sleeper"], 3)
    assert end.output.count("rank is done") == 3, end.output
    assert "told TimeoutError" in end.output, end.output
    assert end.seconds < SOON, end.output


def test_the_timeout_of_the_environment():
    end = run(["overslept_by_the_environment"], 2, CPDCOMM_TIMEOUT="2")
    assert "rank is done" in end.output, end.output


def test_a_rank_that_raises_ends_all():
    end = run(["uncaught_exception"], 2)
    assert end.code != 0
    assert "ArithmeticError: rank 1 has had enough" in end.output
    assert "rank ends" not in end.output
    assert end.seconds < SOON, end.output


def test_a_rank_that_exits_is_not_waited_for():
    end = run(["early_exit"], 3)
    assert end.code != 0
    assert "told PeerFailedError" in end.output, end.output
    assert end.seconds < SOON, end.output
