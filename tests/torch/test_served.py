"""What the tests on ranks stand on: a check fails alone, and a Python with torch is a Python."""

import os
import select
import signal
import subprocess
import sys

import mpirun
import pytest
import served
import warm

RANKS = 2
OWN = {"TROUBLED": "yes"}  # these ranks are for no one else


def run(check, timeout=300.0):
    mpirun.passes("troubled", check, RANKS, timeout, **OWN)


def told(check, timeout=300.0):
    """Runs a check that fails: what the test says. The next check passes all the same."""
    with pytest.raises(pytest.fail.Exception) as failed:
        run(check, timeout)
    run("is_well")
    return str(failed.value)


@pytest.fixture
def ranks():
    return mpirun.ranks_of(RANKS, **OWN)


def test_ranks_live_through_checks(ranks):
    for check in ("is_well", "leaves_groups", "is_well"):
        run(check)
    assert mpirun.ranks_of(RANKS, **OWN) is ranks
    assert {("troubled", "is_well"), ("troubled", "leaves_groups")} <= ranks.passed


def test_a_failure_comes_with_its_rank_and_its_own_output(ranks):
    run("is_well")
    said = told("fails_on_one_rank")
    assert "--- rank 1\nTraceback" in said and "AssertionError: rank 1 has found a fault" in said
    assert "--- rank 0\nTraceback" in said and "MismatchError" in said, said
    assert said.count("rank 0 was here") == 1, said
    assert not ranks.lives


def test_a_rank_that_dies_is_told(ranks):
    assert "troubled.dies on 2 ranks: rank 1 has ended" in told("dies")


def test_ranks_that_hang_say_where(ranks):
    said = told("hangs", timeout=2.0)
    assert "no answer within 2 s of ranks [0, 1]" in said
    assert "in hangs" in said and "in everybody" in said, said


def test_an_unknown_check_is_told(ranks):
    assert "StopIteration" in told("no_such_check")


def test_ranks_end_well_unless_a_check_has_failed(ranks):
    run("is_well")
    mpirun.ends("troubled", RANKS, **OWN)
    assert not any(one.lives for one in served.launches_that_passed("troubled", _kind()))


def _kind():
    return mpirun.kind_of(RANKS, "mpirun", OWN)


# --- a Python that has torch already --------------------------------------------------------------

PYTHONS = pytest.mark.parametrize("python", [sys.executable, "warm"])


def started(python, *arguments, **options):
    python = warm.python() if python == "warm" else python
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([python, *arguments], **options)


@PYTHONS
def test_words_streams_folder_and_environment(python, tmp_path):
    program = (
        "import os, sys; "
        "print(sys.argv, os.getcwd(), os.environ['WORD'], 'HOME' in os.environ, sys.stdin.read()); "
        "print('wrong', file=sys.stderr); sys.exit(7)"
    )
    process = started(
        python, "-c", program, "a b", "", cwd=tmp_path, env={"WORD": "x"}, stdin=subprocess.PIPE
    )
    said = process.communicate("in", timeout=300)
    assert said == (f"['-c', 'a b', ''] {tmp_path} x False in\n", "wrong\n")
    assert process.returncode == 7


@PYTHONS
def test_files_and_modules(python, tmp_path):
    (tmp_path / "beside.py").write_text("word = 'found'\n")
    script = tmp_path / "script.py"
    script.write_text("import beside, sys\nprint(__name__, __file__, sys.argv, beside.word)\n")
    for arguments, name in ([script, "a"], script), (["-m", "script", "a"], script):
        process = started(python, *map(str, arguments), cwd=tmp_path)
        assert process.communicate(timeout=300)[0] == f"__main__ {name} ['{name}', 'a'] found\n"


@PYTHONS
def test_an_exception_is_the_end(python):
    process = started(python, "-c", "import atexit; atexit.register(print, 'end'); 1 / 0")
    said, wrong = process.communicate(timeout=300)
    assert (process.returncode, said) == (1, "end\n")
    assert wrong.endswith("ZeroDivisionError: division by zero\n")


@PYTHONS
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_signals_from_inside_and_outside(python, number):
    process = started(python, "-c", f"import os; os.kill(os.getpid(), {int(number)})")
    process.communicate(timeout=300)
    assert process.returncode == -number
    sleeping = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    process = started(python, "-c", sleeping)
    with process:
        itself = os.pidfd_open(int(process.stdout.readline()))
        process.send_signal(number)
        assert process.wait(300) == -number
        assert select.select([itself], [], [], 300)[0], "and so has what it stands for"
        os.close(itself)
