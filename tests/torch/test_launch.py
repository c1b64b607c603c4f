"""RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT under launchers that set other variables."""

import json
import socket
import sys

import mpirun
import pytest

from cpdcomm._launch import launched_as

SCRIPT = mpirun.CHECKS / "environment.py"


def found_in(output):
    """What every process said."""
    lines = [line.partition("FOUND ")[2] for line in output.splitlines() if "FOUND " in line]
    return [json.loads(line) for line in lines]


def launched(ranks, *arguments, **environment):
    end = mpirun.launch(SCRIPT.name, ranks, *arguments, python=sys.executable, **environment)
    assert end.code == 0, end.output
    found = found_in(end.output)
    assert len(found) == ranks, end.output
    return sorted(found, key=lambda words: int(words["mpi"])), end.output


def alone(*arguments, **environment):
    """One process, no launcher."""
    end = mpirun.run([sys.executable, SCRIPT, *arguments], 300.0, **environment)
    assert end.code == 0, end.output
    return found_in(end.output)[0], end.output


# --- under mpirun ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_bare_mpirun(ranks):
    found, said = launched(ranks, "group")
    assert [words["RANK"] for words in found] == [str(rank) for rank in range(ranks)]
    assert [words["rank"] for words in found] == list(range(ranks))
    assert {words["WORLD_SIZE"] for words in found} == {str(ranks)}
    at_group = [words["at_group"] for words in found]
    assert len({(words["MASTER_ADDR"], words["MASTER_PORT"]) for words in at_group}) == 1
    socket.inet_aton(at_group[0]["MASTER_ADDR"])
    assert 1024 <= int(at_group[0]["MASTER_PORT"]) < 65536
    assert "arning" not in said, said


def test_the_import_starts_no_mpi():
    """Rank and size are the launcher's; the rest waits for a group."""
    found, _ = launched(2)
    for rank, words in enumerate(found):
        assert (words["RANK"], words["WORLD_SIZE"]) == (str(rank), "2")
        assert words["MASTER_ADDR"] is None and words["MASTER_PORT"] is None
        assert not words["starts_mpi"]


def test_a_program_before_the_training():
    """In one launch: Open MPI could be started once."""
    cast = "import torch, cpdcomm; print(cpdcomm.float_quantize(torch.tensor([1.03]), 4, 3).item())"
    two = '"$0" -c "$1"; "$0" "$2" group'
    command = [*mpirun.mpirun_command(2), "sh", "-c", two, sys.executable, cast, SCRIPT]
    end = mpirun.run(command, 60.0)
    assert end.code == 0, end.output
    assert [words["sum"] for words in found_in(end.output)] == [pytest.approx(2.06)] * 2, end.output


# --- processes that a launcher's process starts ---------------------------------------------------


def spawned(ranks, each, tmp_path, **environment):
    """What the workers say that the processes of a launcher spawn."""
    meet = f"file://{tmp_path / 'store'}"
    environment |= {"MEET": meet, "SPAWNED": str(each)}
    end = mpirun.launch(SCRIPT.name, ranks, "workers", **environment)
    assert end.code == 0, end.output
    return [words for words in found_in(end.output) if "RANK" not in words], end.output


@pytest.mark.parametrize("ranks, each", [(1, 2), (2, 1)])
def test_workers_have_no_part_in_their_parents_mpi(tmp_path, ranks, each):
    """Where they are as many as the launcher's processes, too."""
    found, said = spawned(ranks, each, tmp_path)
    assert sorted(words["rank"] for words in found) == [0, 1], said
    assert {words["network"] for words in found} == {"ucx"}
    assert {words["sum"] for words in found} == {2.0}


@pytest.mark.parametrize("ranks, each", [(1, 2), (2, 1)])
def test_workers_that_ask_for_mpi(tmp_path, ranks, each):
    """A clear error, where MPI itself would abort."""
    found, said = spawned(ranks, each, tmp_path, CPDCOMM_TRANSPORT="mpi")
    assert len(found) == 2, said
    for words in found:
        assert "CPDCOMM_TRANSPORT=mpi" in words["told"] and "ucx" in words["told"], said


# --- variables that are wrong ---------------------------------------------------------------------

MISTYPED = """
import os, sys
if len(sys.argv) < 2 or os.environ["OMPI_COMM_WORLD_RANK"] in sys.argv[1:]:
    os.environ["CPDCOMM_ALGORITHM"] = "rign"
import torch.distributed as dist, cpdcomm
try:
    dist.init_process_group("cpd")
except ValueError as error:
    os.write(1, f"told {error}\\n".encode())
"""


@pytest.mark.parametrize("wrong", [[], ["0"], ["1"]], ids=["all", "rank 0", "rank 1"])
def test_every_rank_is_told_of_a_mistyped_variable(wrong):
    end = mpirun.run([*mpirun.mpirun_command(3), sys.executable, "-c", MISTYPED, *wrong], 40.0)
    assert end.code == 0, end.output
    told = [line for line in end.output.splitlines() if line.startswith("told")]
    assert len(told) == 3, end.output
    for line in told:
        assert "CPDCOMM_ALGORITHM" in line and "'rign'" in line and "known are" in line, line


def test_what_is_set_stays():
    """An address and a port of the caller's own; the rest is filled in."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    found, _ = launched(2, "group", MASTER_ADDR="localhost", MASTER_PORT=port)
    assert [words["RANK"] for words in found] == ["0", "1"]
    assert {words["at_group"]["MASTER_ADDR"] for words in found} == {"localhost"}
    assert {words["at_group"]["MASTER_PORT"] for words in found} == {port}
    assert {words["sum"] for words in found} == {2 * found[0]["sum"] / 2}


def test_everything_is_set():
    """By another launcher around this one: nothing is touched, nothing is agreed."""
    given = {"RANK": "5", "WORLD_SIZE": "9", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}
    found, _ = launched(2, **given)
    for words in found:
        assert {name: words[name] for name in given} == given


# --- without a launcher ---------------------------------------------------------------------------


def test_no_launcher():
    found, said = alone()
    assert all(found[name] is None for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    assert "arning" not in said


def test_inside_a_batch_script():
    """Slurm's variables there are those of the script, not of a rank."""
    found, _ = alone(SLURM_PROCID="0", SLURM_NTASKS="4", SLURM_JOB_ID="1", SLURM_NNODES="2")
    assert found["RANK"] is None and found["WORLD_SIZE"] is None


def test_a_launcher_without_its_mpi():
    """Variables that were inherited, or another MPI's: a clear error when a group is made."""
    found, said = alone(PMI_RANK="1", PMI_SIZE="4")
    assert (found["RANK"], found["WORLD_SIZE"]) == ("1", "4")
    assert "arning" not in said, said
    command = [sys.executable, SCRIPT, "group"]
    end = mpirun.run(command, 40.0, PMI_RANK="1", PMI_SIZE="4")
    assert end.code != 0 and "UnsupportedError" in end.output, end.output
    assert "4 processes" in end.output and "mpirun" in end.output, end.output


def test_processes_that_mpi_does_not_connect(tmp_path):
    """Asked for all the same: a clear error on every rank."""
    program = (
        "import sys, torch.distributed as dist, cpdcomm\n"
        "try:\n"
        "    dist.init_process_group('cpd', init_method='file://' + sys.argv[1],\n"
        "                            rank=int(sys.argv[2]), world_size=2)\n"
        "except NotImplementedError as error:\n"
        "    print('told', error)\n"
    )
    two = '"$0" -c "$1" "$2" 0 & first=$!; "$0" -c "$1" "$2" 1; wait $first'
    command = ["bash", "-c", two, sys.executable, program, tmp_path / "store"]
    end = mpirun.run(command, 300.0, CPDCOMM_TRANSPORT="mpi")
    assert end.code == 0, end.output
    assert end.output.count("told") == 2, end.output
    assert end.output.count("mpirun") >= 2, end.output


# --- which launcher it was ------------------------------------------------------------------------

OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "17"}
STEP = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "6"}


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        ({}, None),
        (OPEN_MPI, (2, 4)),
        (OPEN_MPI | BATCH, (2, 4)),  # mpirun inside sbatch
        (OPEN_MPI | {"PMIX_RANK": "1"}, (2, 4)),
        (STEP | {"PMIX_RANK": "3"}, (3, 6)),  # srun --mpi=pmix
        (BATCH | {"PMIX_RANK": "5"}, (5, 8)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),  # MPICH, srun --mpi=pmi2
        (BATCH, None),
        (STEP, None),  # srun without an MPI: torch's own rendezvous is the user's
        ({"PMIX_RANK": "3"}, None),  # no size
        ({"OMPI_COMM_WORLD_RANK": "0"}, None),
    ],
)
def test_launched_as(environment, want):
    assert launched_as(environment) == want
