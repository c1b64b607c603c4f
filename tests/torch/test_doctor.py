"""python -m cpdcomm.doctor: on a machine that has all, and on others that lack something."""

import json
import os
import shutil
import sys
from pathlib import Path

import jsonschema
import mpirun
import private_memory
import pytest
import torch
import warm

import cpdcomm
from cpdcomm.doctor import check, machine, problems

PACKAGE = Path(cpdcomm.__file__).parent
SECONDS = 300.0
OPTIONAL_TEXT = {"type": ["string", "null"]}
COUNT = {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def record(**properties):
    """The schema of an object that has just these."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema):
    return {"anyOf": [schema, {"type": "null"}]}


CHECK = record(
    seconds={"type": "number", "exclusiveMinimum": 0},
    relative_error={"type": "number", "minimum": 0, "maximum": 0.1},
    wire_bytes=COUNT,
    logical_bytes=COUNT,
)
TRANSPORT = record(
    tried={"type": "boolean"},
    works={"type": "boolean"},
    module=OPTIONAL_TEXT,
    library=OPTIONAL_TEXT,
    launcher=OPTIONAL_TEXT,
    check=or_null(CHECK),
)
MACHINE = record(
    python={"type": "string"},
    torch={"type": "string"},
    cuda=or_null(
        record(version={"type": "string"}, devices={"type": "array", "items": {"type": "string"}})
    ),
    cores=COUNT,
    simd=OPTIONAL_TEXT,
    shared_memory=or_null(record(bytes=COUNT, free_bytes=COUNT)),
    shares_memory={"type": ["boolean", "null"]},
    launcher=STRINGS,
    variables=STRINGS,
)
PROBLEM = record(what={"type": "string", "minLength": 10}, do={"type": "string", "minLength": 10})
FINDINGS = record(
    healthy={"type": "boolean"},
    version=OPTIONAL_TEXT,
    folder={"type": "string"},
    machine=MACHINE,
    transports=record(mpi=TRANSPORT, ucx=TRANSPORT),
    problems={"type": "array", "items": PROBLEM},
)


def doctor(*arguments, package=PACKAGE, python=None, **environment):
    """Runs the doctor of a package to its end."""
    environment = {"PYTHONPATH": str(package.parent)} | environment
    command = [python or warm.python(), "-m", "cpdcomm.doctor", *arguments]
    return mpirun.run(command, SECONDS, **environment)


def findings_of(end):
    """What it said with --json; what the library warned of may stand before."""
    found = json.loads(end.output[end.output.index("{") :])
    jsonschema.validate(found, FINDINGS)
    assert found["healthy"] == (end.code == 0)
    return found


def examine(*arguments, **environment):
    return findings_of(doctor("--json", *arguments, **environment))


def told(found, what, do):
    """Asserts that there is this problem with this advice."""
    assert any(what in p["what"] and do in p["do"] for p in found["problems"]), found["problems"]


@pytest.fixture
def package(tmp_path):
    """A copy of the package from which something can be taken."""
    return shutil.copytree(PACKAGE, tmp_path / "copy" / "cpdcomm")


def without_library(module, library):
    """Makes a module need a library of another name, which no machine has."""
    content = module.read_bytes()
    assert library.encode() in content
    hidden = library.replace(library[3:5], "zz")
    module.write_bytes(content.replace(library.encode(), hidden.encode()))
    return hidden


def with_ranks(package, program):
    """Replaces what the two processes do."""
    (package / "doctor" / "rank.py").write_text(program)


# --- a machine that has all -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy():
    return examine()


def test_all_is_well(healthy):
    assert healthy["healthy"] and healthy["version"] == cpdcomm.__version__
    for transport in healthy["transports"].values():
        assert transport["tried"] and transport["works"], healthy
        # Each of two ranks sends half of 65,536 values one way and a half back, in a byte each.
        assert 65536 < transport["check"]["wire_bytes"] < 70000
        assert transport["check"]["logical_bytes"] == 4 * 65536
    assert healthy["machine"]["shares_memory"]
    assert not [p for p in healthy["problems"] if "free in /dev/shm" not in p["what"]]


def test_versions_are_those_of_this_machine(healthy):
    assert healthy["machine"]["torch"] == torch.__version__
    assert (healthy["machine"]["cuda"] is not None) == torch.cuda.is_available()
    assert healthy["machine"]["cores"] == len(os.sched_getaffinity(0))
    library, launcher = (healthy["transports"]["mpi"][key] for key in ("library", "launcher"))
    said = mpirun.run([launcher, "--version"], SECONDS).output
    assert any(char.isdigit() for char in library) and library.split("v")[-1] in said
    assert healthy["transports"]["ucx"]["library"].startswith("UCX 1.")


def test_as_text():
    end = doctor(CPDCOMM_ACCUMULATE="kahan")
    assert end.code == 0, end.output
    assert "cpdcomm works here over MPI and UCX." in end.output
    assert "CPDCOMM_ACCUMULATE=kahan" in end.output
    assert end.output.count("two processes got the same bits") == 2


def test_nothing_is_left(tmp_path):
    end = doctor(TMPDIR=str(tmp_path))
    assert end.code == 0, end.output
    assert not list(tmp_path.glob("cpdcomm*"))


@pytest.mark.parametrize("options", ["size=1m", "ro"])
def test_scarce_memory(options):
    """What is short is told; ranks of a host share memory all the same, and leave nothing."""
    private_memory.needed()
    inside = [sys.executable, "-m", "cpdcomm.doctor", "--json", ";", "ls", "-A", "/dev/shm"]
    command = private_memory.script(options, " ".join(inside))
    end = mpirun.run(command, SECONDS, PYTHONPATH=str(PACKAGE.parent))
    said, closed, left = end.output[end.output.index("{") :].rpartition("\n}\n")
    found = json.loads(said + closed)
    jsonschema.validate(found, FINDINGS)
    assert found["healthy"] and found["machine"]["shares_memory"], found
    what = "there is no /dev/shm that can be" if options == "ro" else "only 1 MiB are free in /dev"
    told(found, what, "--shm-size")
    assert not left, f"in /dev/shm: {left}"


def test_processes_that_share_no_memory():
    """As where /proc is shut and /dev/shm has no room."""
    problem = check.problem_of_sharing(
        check.Outcome(shares_memory=False, not_shared="rank 1: full")
    )
    assert "share no memory: rank 1: full" in problem.what and "/proc" in problem.do
    assert check.problem_of_sharing(check.Outcome(shares_memory=True)) is None
    assert check.problem_of_sharing(None) is None


def test_under_mpirun_one_rank_speaks():
    command = [*mpirun.mpirun_command(2), warm.python(), "-m", "cpdcomm.doctor", "--json"]
    end = mpirun.run(command, SECONDS, PYTHONPATH=str(PACKAGE.parent))
    found = findings_of(end)
    assert found["healthy"], found
    assert found["machine"]["launcher"]["OMPI_COMM_WORLD_SIZE"] == "2"


# --- something is missing -------------------------------------------------------------------------


def test_a_package_without_mpi(package):
    (package / "libcpdcomm_mpi.so").unlink()
    found = examine(package=package)
    assert found["folder"] == str(package)
    assert found["healthy"] and found["transports"]["ucx"]["works"], found
    assert found["transports"]["mpi"]["module"] is None
    assert not found["transports"]["mpi"]["tried"]
    told(found, "built without MPI", "apt-get install libopenmpi-dev openmpi-bin")


def test_a_machine_without_mpi(package):
    hidden = without_library(package / "libcpdcomm_mpi.so", "libmpi.so")
    found = examine(package=package)
    assert found["healthy"] and found["transports"]["ucx"]["works"], found
    assert not found["transports"]["mpi"]["tried"]
    told(found, f"the module of MPI cannot be loaded: {hidden}", "LD_LIBRARY_PATH")


def test_a_machine_without_mpirun(tmp_path):
    found = examine(PATH=str(tmp_path))
    assert found["healthy"] and found["transports"]["ucx"]["works"], found
    mpi = found["transports"]["mpi"]
    assert mpi["library"] and not mpi["launcher"] and not mpi["tried"]
    told(found, "no mpirun", "add the folder of mpirun to PATH")


def test_a_package_without_ucx(package):
    (package / "libcpdcomm_ucx.so").unlink()
    found = examine(package=package)
    assert found["healthy"] and found["transports"]["mpi"]["works"], found
    told(found, "built without UCX", "apt-get install libucx-dev")


def test_neither(package):
    for name in ("mpi", "ucx"):
        (package / f"libcpdcomm_{name}.so").unlink()
    end = doctor(package=package)
    assert end.code == 1
    assert "no transport works" in end.output
    assert "built without MPI" in end.output and "built without UCX" in end.output


def test_no_extension(package):
    (extension,) = package.glob("_C.*.so")
    extension.unlink()
    end = doctor("--json", package=package)
    found = findings_of(end)
    assert end.code == 1 and found["version"] is None
    told(found, f"C++ module cannot be loaded: {package} has none for Python", "scripts/setup")
    assert found["transports"]["mpi"]["library"], "what can be told is told"
    assert "Traceback" not in end.output


def test_an_extension_that_misses_a_library(package):
    hidden = without_library(package / "libcpdcomm.so", "libhwloc.so")
    end = doctor(package=package)
    assert end.code == 1
    assert f"C++ module cannot be loaded: {hidden}" in end.output
    assert "LD_LIBRARY_PATH" in end.output and "Traceback" not in end.output


def test_an_import_without_extension_names_the_doctor(package):
    (extension,) = package.glob("_C.*.so")
    extension.unlink()
    command = [warm.python(), "-c", "import cpdcomm"]
    end = mpirun.run(command, SECONDS, PYTHONPATH=str(package.parent))
    assert end.code == 1
    assert "ImportError: cpdcomm's C++ module cannot be loaded" in end.output
    assert "python -m cpdcomm.doctor" in end.output


# --- something does not work ----------------------------------------------------------------------


def test_a_network_that_is_not_there():
    found = examine(UCX_TLS="tcp", UCX_NET_DEVICES="nosuch0")
    ucx = found["transports"]["ucx"]
    assert ucx["tried"] and not ucx["works"]
    told(found, "over UCX two processes", "UCX_NET_DEVICES")
    assert found["healthy"] and found["transports"]["mpi"]["works"], found


def test_variables_that_are_refused():
    found = examine(CPDCOMM_WIRE="e99")
    told(found, "CPDCOMM_WIRE", "unset the variable")
    assert not found["healthy"], "no group starts"
    assert found["transports"]["mpi"]["works"] and found["transports"]["ucx"]["works"]


def test_processes_that_hang(package, tmp_path):
    with_ranks(package, "import time\ntime.sleep(600)\n")
    end = doctor(
        *("--json", "--deadline", "4"),
        package=package,
        python=sys.executable,  # with an environment that `running` sees
        TMPDIR=str(tmp_path),
    )
    found = findings_of(end)
    assert end.code == 1
    for name in ("MPI", "UCX"):
        told(found, f"over {name} two processes did not end within 4 s", "--deadline")
    assert end.seconds < 60
    assert not running(package), "they were ended"


def running(package):
    """What runs of a copy: its folder is in the environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(package.parent).encode() in process.read_bytes():
                found.append(process)
        except OSError:  # it ended, or is another user's
            continue
    return found


ONE_FAILS = """
import os, time
if os.environ["RANK"] == "1":
    raise RuntimeError("rank 1 is out of order")
time.sleep(600)
"""


def test_one_of_the_processes_fails(package):
    with_ranks(package, ONE_FAILS)
    end = doctor("--json", package=package)
    found = findings_of(end)
    whats = [problem["what"] for problem in found["problems"]]
    for name in ("MPI", "UCX"):
        (what,) = [what for what in whats if f"over {name} two processes failed" in what]
        assert "RuntimeError: rank 1 is out of order" in what and "Traceback" not in what
    assert end.seconds < 60, "nobody waits for the other for long"


FAKED = """
import json, os, sys, pathlib
rank = os.environ["RANK"]
found = {{"seconds": 1.0, "sha256": {digest}, "relative_error": {error},
         "wire_bytes": 1, "logical_bytes": 4}}
pathlib.Path(sys.argv[1], rank + ".json").write_text(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("digest", "error", "message"),
    [
        ("rank", "0.01", "got different bits"),
        ("'same'", "0.5", "its relative error is 0.5"),
        ("'same'", "float('nan')", "its relative error is nan"),
    ],
)
def test_wrong_sums(package, digest, error, message):
    with_ranks(package, FAKED.format(digest=digest, error=error))
    (package / "libcpdcomm_mpi.so").unlink()
    found = examine(package=package)
    assert not found["healthy"]
    told(found, f"over UCX {'the processes ' if digest == 'rank' else 'the sum is wrong: '}", "")
    told(found, message, "report it")


@pytest.mark.parametrize("seconds", ["0", "nan", "soon", "1e9"])
def test_a_wrong_deadline(seconds):
    end = doctor("--deadline", seconds)
    assert end.code == 2
    assert f"'{seconds}': a number of seconds from 1 to 3600" in end.output


def test_help_teaches():
    end = doctor("--help")
    assert end.code == 0
    assert "examples:" in end.output and "exit codes:" in end.output


# --- what to do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "do"),
    [
        ("libmpi.so.40: cannot open shared object file: No such file", "openmpi-bin"),
        ("libucp.so.0: cannot open shared object file: No such file", "libucx-dev"),
        ("libhwy.so.1: cannot open shared object file: No such file", "libhwy-dev"),
        ("libtorch_cpu.so: cannot open shared object file: No such file", "scripts/setup"),
        ("/x/_C.so: undefined symbol: _ZN3c104Type", "scripts/setup"),
    ],
)
def test_what_to_do_about_a_library(error, do):
    assert do in problems.not_loadable(error)


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        (None, "there is no /dev/shm"),
        ({"bytes": 64 << 20, "free_bytes": 63 << 20}, "only 63 MiB are free in /dev/shm"),
        ({"bytes": 1 << 30, "free_bytes": 64 << 20}, None),
    ],
)
def test_shared_memory(shared, told):
    found = machine.problems({"shared_memory": shared})
    assert [p.what.startswith(told) for p in found] == ([True] if told else [])
    assert all("--shm-size" in p.do for p in found)
