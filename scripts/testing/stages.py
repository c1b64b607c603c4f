"""The stages of scripts/test, in their order."""

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import changes
from .commands import BUILD, ROOT, Failed, must, quietly, run, shown
from .results import StageResult, cases_of, compilations_of

PYTHON = ROOT / ".venv" / "bin" / "python"
# Of the Python tests: casts, names, ranks that sum, scripts; a minute.
SMOKE = (
    "tests/scripts",
    "tests/torch/test_integers.py",
    "tests/torch/test_stubs.py",
    "tests/torch/test_geometry.py",
)
FUZZERS = ("decode_fuzz", "parse_fuzz")
# What Open MPI needs on a small machine or as root.
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


@dataclass
class Stage:
    """One stage while it runs."""

    name: str
    word: str | None = None  # only cases whose name holds it
    long: bool = False
    quick: bool = False
    result: StageResult = field(init=False)

    def __post_init__(self):
        self.result = StageResult(self.name)

    def run(self):
        """Runs the stage; a failure ends it, and is in its result."""
        try:
            RUNNERS[self.name](self)
        except Failed as failed:
            self.result.failures.append(("ended with an error", failed.repeat))
        return self.result

    @contextmanager
    def timed(self, part):
        start = time.monotonic()
        try:
            yield
        finally:
            before = self.result.seconds.get(part, 0.0)
            self.result.seconds[part] = before + time.monotonic() - start


# --- C++ ------------------------------------------------------------------------------------------


def _build(stage, preset, *targets):
    """Configures and builds a preset, and keeps what compiling took."""
    log = BUILD / preset / ".ninja_log"
    with stage.timed("build"):
        quietly(["cmake", "--preset", preset], BUILD / f"{preset}.configure.log")
        already = len(log.read_text()) if log.exists() else 0
        named = ["--target", *targets] if targets else []
        try:
            must(["cmake", "--build", "--preset", preset, *named])
        finally:
            stage.result.compilations += compilations_of(log, already)


def _ctest(stage, preset, *selection, prefix=()):
    """Runs a preset's tests."""
    junit = BUILD / f"{preset}.cases.xml"
    junit.unlink(missing_ok=True)
    if stage.word:
        selection = [*selection, "-R", stage.word]
    # Ranks wait for each other: a test with several keeps two of these jobs busy.
    jobs = 2 * len(os.sched_getaffinity(0))
    begin = [*prefix, "ctest", "--preset", preset]
    with stage.timed("tests"):
        command = [*begin, "-j", jobs, *selection, "--output-junit", junit]
        finished = run([str(word) for word in command])
    stage.result.cases += cases_of(junit)
    failed = [case.name for case in stage.result.cases if case.failed]
    stage.result.failures += [(name, shown([*begin, "-R", f"^{name}$"])) for name in failed]
    if finished.code != 0 and not failed:
        raise Failed(shown(command))


def _cpp(stage):
    _build(stage, "dev")
    if stage.quick:
        rooms = changes.rooms_of(changes.changed_files())
        _ctest(stage, "dev", "-L", "|".join(f"^{label}$" for label in ["smoke", *rooms]))
        return
    _ctest(stage, "dev")
    if stage.long:
        with stage.timed("long"):
            tests = BUILD / "dev" / "tests"
            must([tests / "codec" / "cpdcomm_check_all_inputs"])
            must([tests / "collective" / "test_collective_soak", "20000"])
            must(["mpirun", "-n", "4", tests / "mpi" / "test_mpi_soak", "20000"], **MPI)


def _asan(stage):
    _build(stage, "asan")
    _ctest(stage, "asan")


def _tsan(stage):
    _build(stage, "tsan")
    # Where the kernel scatters memory widely, g++ 12's thread sanitizer finds no room for its own.
    unscattered = ["setarch", "-R"]
    allowed = subprocess.run([*unscattered, "true"], stderr=subprocess.DEVNULL).returncode == 0
    _ctest(stage, "tsan", prefix=unscattered if allowed else [])


def _fuzz(stage):
    _build(stage, "fuzz")
    seconds = 120 if stage.long else 10
    folder = BUILD / "fuzz"
    with stage.timed("tests"):
        for name in FUZZERS:
            corpus = folder / f"{name}.corpus"  # kept, so that the next run goes on from here
            corpus.mkdir(exist_ok=True)
            fuzzer = [folder / "tests" / "fuzz" / name, f"-max_total_time={seconds}"]
            limits = ["-max_len=4096", "-verbosity=0", f"-artifact_prefix={folder / name}-"]
            must([*fuzzer, *limits, corpus])
            print(f"{name}: {seconds} s without a finding", flush=True)


# --- Python, and what all share -------------------------------------------------------------------


def _lint(stage):
    sources = [
        path
        for room in ("include", "libcpdcomm", "adapters", "perf", "tests")
        for pattern in ("*.[ch]pp", "*.cu")
        for path in sorted((ROOT / room).rglob(pattern))
    ]
    assert sources, "no C++ source was found"
    with stage.timed("tests"):
        must([PYTHON.with_name("clang-format"), "--dry-run", "--Werror", *sources])
        must([PYTHON.with_name("ruff"), "check", "."])
        must([PYTHON.with_name("ruff"), "format", "--check", "."])


def _python(stage):
    log = BUILD / "dev" / ".ninja_log"
    with stage.timed("build"):
        # In the tree of the C++ tests, which has most of it already.
        quietly(["cmake", "--preset", "dev"], BUILD / "dev.configure.log")
        already = len(log.read_text()) if log.exists() else 0
        must(["scripts/setup", "--package-in", "dev"])
        stage.result.compilations += compilations_of(log, already)
    junit = BUILD / "python.cases.xml"
    junit.unlink(missing_ok=True)
    selection = ["-k", stage.word] if stage.word else []
    if stage.quick:
        changed = changes.python_tests_of(changes.changed_files())
        _pytest(stage, junit, *selection, *dict.fromkeys([*SMOKE, *changed]))
        return
    _pytest(stage, junit, *selection)


def _pytest(stage, junit, *selection):
    command = [PYTHON, "-m", "pytest", "-o", "junit_family=xunit1", f"--junitxml={junit}"]
    with stage.timed("tests"):
        finished = run([*command, *selection])
    cases = cases_of(junit)
    stage.result.cases += cases
    failed = [case.name for case in cases if case.failed]
    stage.result.failures += [(name, shown([PYTHON, "-m", "pytest", name])) for name in failed]
    if finished.code != 0 and not failed:
        raise Failed(shown([PYTHON, "-m", "pytest", *selection]))


RUNNERS = {
    "lint": _lint,
    "cpp": _cpp,
    "asan": _asan,
    "tsan": _tsan,
    "fuzz": _fuzz,
    "python": _python,
}
QUICK = ("lint", "cpp", "python")
