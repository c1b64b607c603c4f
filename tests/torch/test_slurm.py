"""A real Slurm: the lab of scripts/slurm, and the batch script that trains on four nodes of it."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mpirun
import pytest
from lab_command import count_sleeping
from needs import REASON as NO_NAMESPACES
from training import log

from cpdperf.lab import Lab, LabError, state
from slurmlab import cluster
from slurmlab.command_line import main

ROOT = Path(__file__).parents[2]
LAB = ROOT / "scripts" / "slurm" / "lab"
SCRIPT = ROOT / "scripts" / "slurm" / "train.sbatch"
NODES = 4
RECIPE = ["--quick"]
MINUTES = 60.0
numbers = itertools.count()


def why_none():
    """What is missing for a Slurm of one's own; None if nothing is."""
    if NO_NAMESPACES is not None:
        return NO_NAMESPACES
    try:
        for program in cluster.PROGRAMS:
            cluster.find(program)
    except LabError as error:
        return str(error)
    return None


REASON = why_none()
needs_slurm = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def new_name():
    return f"slurm-t{os.getpid()}-{next(numbers)}"


def lab(*arguments, timeout=MINUTES, **environment):
    return mpirun.run([LAB, *arguments], timeout, **environment)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes_of(name):
    """The command lines of all that runs for a lab: its nodes and its files are named in them."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace")
        except OSError:  # it ended
            continue
        if f"{name}-" in words or f"/{name}/" in words:
            found.append(words)
    return found


def assert_nothing_left(name):
    listed = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    assert f"{name}-" not in listed
    assert not (state.ROOT / name).exists()
    assert processes_of(name) == []


@pytest.fixture(scope="module")
def slurm():
    """The name of a lab of four nodes; nothing of it may stay."""
    name = new_name()
    started = lab("start", "--nodes", str(NODES), "--name", name)
    assert started.code == 0, started.output
    assert "Slurm is up" in started.output
    yield name
    stopped = lab("stop", "--name", name)
    assert stopped.code == 0, stopped.output
    assert_nothing_left(name)


def run(name, *command, timeout=MINUTES, **environment):
    limit = ["--limit", str(timeout - 10)]
    return lab("run", "--name", name, *limit, "--", *command, timeout=timeout, **environment)


# --- the lab --------------------------------------------------------------------------------------


@needs_slurm
def test_tasks_run_on_nodes_of_their_own(slurm):
    end = run(
        slurm, "srun", "--nodes", str(NODES), "sh", "-c", "hostname; readlink /proc/$$/ns/net"
    )
    assert end.code == 0, end.output
    lines = end.output.split()
    names = {f"{slurm}-{node}" for node in range(NODES)}
    assert names <= set(lines)
    assert len(set(lines) - names) == NODES, "each has a network of its own"


@needs_slurm
def test_the_exit_code_is_the_commands(slurm):
    assert run(slurm, "srun", "sh", "-c", "exit 7").code == 7


@needs_slurm
def test_a_command_ends_with_the_limit_and_its_job_with_it(slurm):
    seconds = f"60.{os.getpid()}"
    end = lab("run", "--name", slurm, "--limit", "3", "--", "srun", "sleep", seconds)
    assert end.code == 124, end.output
    wait_until(lambda: count_sleeping(seconds) == 0)
    wait_until(lambda: run(slurm, "squeue", "--noheader").output == "")


@needs_slurm
def test_one_runs_already(slurm):
    end = lab("start", "--name", slurm)
    assert end.code == 2
    assert f"'{slurm}' is running already" in end.output
    assert f"scripts/slurm/lab stop --name {slurm}" in end.output
    assert run(slurm, "sinfo").code == 0, "the one that runs goes on"


@needs_slurm
def test_one_node_and_a_job_that_is_left_running():
    name, seconds = new_name(), f"600.{os.getpid()}"
    try:
        assert lab("start", "--nodes", "1", "--name", name).code == 0
        submitted = run(name, "sbatch", "--output=/dev/null", f"--wrap=sleep {seconds}")
        assert submitted.code == 0, submitted.output
        wait_until(lambda: count_sleeping(seconds) == 1)
    finally:
        stopped = lab("stop", "--name", name)
    assert stopped.code == 0, stopped.output
    assert count_sleeping(seconds) == 0
    assert_nothing_left(name)


@needs_slurm
def test_a_daemon_that_ends_by_itself_is_told_and_nothing_stays(monkeypatch, capsys, tmp_path):
    broken = tmp_path / "slurmctld"
    broken.write_text("#!/bin/sh\necho out of order >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    name = new_name()
    assert main(["start", "--nodes", "1", "--name", name]) == 2
    said = capsys.readouterr().err
    assert "slurmctld has ended by itself" in said and "out of order" in said
    assert_nothing_left(name)


def test_only_root_can_start_one(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["start"]) == 2
    assert "need root" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_package(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program, path: None)
    assert main(["start"]) == 2
    assert "munged is not installed: apt-get install slurm-wlm" in capsys.readouterr().err


@pytest.mark.parametrize("nodes", ["0", "65"])
def test_impossible_numbers_of_nodes(nodes, capsys):
    assert main(["start", "--nodes", nodes]) == 2
    assert f"{nodes} nodes: allowed are 1 to 64" in capsys.readouterr().err


def test_run_where_none_is_running(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["run", "--name", "slurm-never", "--", "sinfo"]) == 2
    assert "scripts/slurm/lab start --name slurm-never" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run", "srun", "-N4"], ["stop", "-N4"]])
def test_unknown_options(words, capsys):
    assert main(words) == 2
    assert f"{words[0]} has no option or argument '-N4'; a command" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["start"], ["stop"], ["run"]])
def test_help_needs_nothing(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "scripts/slurm/lab" in capsys.readouterr().out


# --- the batch script -----------------------------------------------------------------------------


def submit(name, script, output, *arguments, folder=ROOT):
    """Submits a job and waits for its end."""
    options = ["--wait", "--chdir", folder, "--output", output]
    return run(name, "sbatch", *options, script, *arguments, timeout=5 * MINUTES)


def results(folder):
    """Of each run, what has to be the same wherever it ran."""
    records = log.read(folder)
    header = records[0]
    keys = ("test_accuracy", "train_loss", "parameters_sha256", "wire_bytes_per_step")
    runs = {r["configuration"]: {k: r[k] for k in keys} for r in records if r["record"] == "run"}
    return header, runs


@needs_slurm
def test_it_trains_as_under_mpirun(slurm, tmp_path):
    """Four nodes reach the accuracy, and the very parameters, of four ranks on one machine."""
    output, there, here = tmp_path / "job.out", tmp_path / "slurm", tmp_path / "mpirun"
    with Lab.attach(slurm).counting() as sent:
        job = submit(slurm, SCRIPT, output, *RECIPE, "--out", there)
    assert job.code == 0, job.output + output.read_text()
    assert f"{NODES} ranks on {NODES} nodes: {slurm}-[0-{NODES - 1}]" in output.read_text()

    recipe = ["-m", "training.train", "--configs", "fp32", "e4m3", "--seeds", "1", *RECIPE]
    command = [*mpirun.mpirun_command(NODES), sys.executable, *recipe, "--out", here]
    alone = mpirun.run(command, 5 * MINUTES, PYTHONPATH=str(ROOT), CPDCOMM_TRANSPORT="mpi")
    assert alone.code == 0, alone.output

    header, on_slurm = results(there)
    assert header["ranks"] == NODES
    assert on_slurm.keys() == {"fp32", "e4m3"}
    assert on_slurm["e4m3"]["test_accuracy"] > 0.8  # chance is 0.1
    assert on_slurm == results(here)[1]

    # The ranks are no group of one each, nor on one node: the gradients went over every link.
    gradients = sum(r["wire_bytes_per_step"] for r in on_slurm.values()) * header["total_steps"]
    for node in range(NODES):
        assert sent[node].sent_bytes > gradients, f"node {node} sent too little"


def edited(tmp_path, **settings):
    """The batch script as a user edits it."""
    lines = SCRIPT.read_text().splitlines()
    for name, value in settings.items():
        at = [i for i, line in enumerate(lines) if line.startswith(f"{name}=")]
        assert len(at) == 1, f"{name} is set in one place"
        lines[at[0]] = f"{name}={value}"
    script = tmp_path / "edited.sbatch"
    script.write_text("\n".join(lines) + "\n")
    return script


@needs_slurm
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"venv": "/nowhere"}, "there is no /nowhere/bin/python on {slurm}-0"),
        ({"wire": "e4m33"}, "--configs e4m33"),
        ({"recipe": "(--epochs 0)"}, "'0' is not a whole number of at least 1"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_told(slurm, tmp_path, settings, message):
    output = tmp_path / "job.out"
    job = submit(slurm, edited(tmp_path, **settings), output)
    # Where a rank has complained srun ends the others, and has their codes to choose from, too.
    assert job.code != 0, job.output + output.read_text()
    assert output.read_text().count(message.format(slurm=slurm)) == 1


@needs_slurm
def test_submitted_from_elsewhere(slurm, tmp_path):
    output = tmp_path / "job.out"
    assert submit(slurm, SCRIPT, output, folder=tmp_path).code == 2
    assert f"there is no training/ in {tmp_path}: submit it from the root" in output.read_text()


def test_a_batch_script_without_slurm():
    end = mpirun.run(["bash", SCRIPT], MINUTES)
    assert end.code == 2
    assert "start it with sbatch" in end.output
