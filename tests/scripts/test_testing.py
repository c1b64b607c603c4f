"""What scripts/test makes of what its tools wrote."""

import subprocess
import sys
from pathlib import Path

import pytest

from testing import changes, report
from testing.results import Case, StageResult, cases_of, compilations_of

ROOT = Path(__file__).parents[2]

CTEST = """<testsuite>
  <testcase name="codec.Fp32.KeepsEveryBit" classname="codec" time="0.5" status="run"/>
  <testcase name="mpi.4_ranks" classname="mpi" time="2" status="fail">
    <failure message="Failed"/>
  </testcase>
  <testcase name="mpi.left_out" classname="mpi" time="0" status="notrun">
    <skipped message="no such program"/>
  </testcase>
</testsuite>"""
PYTEST = """<testsuites><testsuite>
  <testcase classname="tests.torch.test_cast" name="test_ties[e4m3]" file="tests/torch/test_cast.py"
    time="0.25"><error message="setup failed"/></testcase>
</testsuite></testsuites>"""


def test_cases_of_ctest_and_of_pytest(tmp_path):
    junit = tmp_path / "cases.xml"
    junit.write_text(CTEST)
    assert [(c.name, c.seconds, c.verdict) for c in cases_of(junit)] == [
        ("codec.Fp32.KeepsEveryBit", 0.5, "passed"),
        ("mpi.4_ranks", 2.0, "failed"),
        ("mpi.left_out", 0.0, "skipped"),
    ]
    junit.write_text(PYTEST)
    file = "tests/torch/test_cast.py"
    assert cases_of(junit) == [Case(f"{file}::test_ties[e4m3]", 0.25, "failed", file)]


def test_a_run_that_wrote_nothing_has_no_cases(tmp_path):
    assert cases_of(tmp_path / "none.xml") == []


def test_compilations_are_those_since_a_place_in_ninjas_log(tmp_path):
    log = tmp_path / ".ninja_log"
    before = "# ninja log v5\n0\t1500\t7\told.cpp.o\tabc\n"
    log.write_text(before + "10\t2510\t8\tlib/new.cpp.o\tdef\n10\t20\t8\tlib.so\tfff\n")
    (one,) = compilations_of(log, len(before))
    assert (one.output, one.seconds) == ("lib/new.cpp.o", 2.5)
    # Ninja now and then writes its log anew, and shorter.
    assert len(compilations_of(log, 10_000)) == 2
    assert compilations_of(tmp_path / "none", 0) == []


@pytest.mark.parametrize(
    ("files", "rooms"),
    [
        (["libcpdcomm/codec/plain/sign.cpp"], ["codec", "reduction"]),
        (["tests/ucx/rank.cpp", "README.md"], ["ucx"]),
        (["perf/tune/links.cpp"], ["perf"]),
        (["perf/cpdperf/plot.py"], []),
    ],
)
def test_a_changed_file_concerns_rooms(files, rooms):
    assert changes.rooms_of(files) == rooms


def test_a_file_of_checks_concerns_the_tests_that_run_it():
    assert "tests/torch/test_misuse.py" in changes.python_tests_of(["tests/torch/mpi/misuse.py"])
    assert changes.python_tests_of(["tests/torch/test_cast.py"]) == ["tests/torch/test_cast.py"]
    assert changes.python_tests_of(["tests/torch/test_that_is_gone.py"]) == []


def test_failures_stand_at_the_end_with_their_commands(capsys):
    result = StageResult("cpp", failures=[("mpi.4_ranks", "ctest --preset dev -R '^mpi.4_ranks$'")])
    report.print_failures([StageResult("lint"), result])
    out = capsys.readouterr().out
    assert "1 failed" in out
    assert "cpp: mpi.4_ranks" in out
    assert "ctest --preset dev -R '^mpi.4_ranks$'" in out


def test_times_name_stages_cases_and_python_files(capsys):
    case = Case("tests/a.py::test_b", 1.5, "passed", "tests/a.py")
    report.print_times([StageResult("python", {"build": 2.0, "tests": 3.0}, [case, case])])
    out = capsys.readouterr().out
    assert "| python | 5 | build 2, tests 3 | 2 |" in out
    assert "1.5  python: tests/a.py::test_b" in out
    assert "3.0  tests/a.py" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["cppp"], "unknown stage 'cppp'; there are lint, cpp"),
        (["--quick", "lint"], "--quick goes without STAGE"),
    ],
)
def test_mistakes_are_told_before_anything_is_installed(arguments, complaint):
    command = [sys.executable, ROOT / "scripts" / "test", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert complaint in done.stderr
