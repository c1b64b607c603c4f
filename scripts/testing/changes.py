"""What changed since main, and which tests that concerns."""

import re
import subprocess

from .commands import ROOT

# The rooms of the C++ tests that a part of the library concerns, beside its own.
RESTS_ON = {
    "codec": ["reduction"],
    "numerics": ["codec", "reduction"],
    "reduction": ["collective"],
    "schedule": ["collective"],
    "topology": ["transport"],
    "transport": ["collective"],
}


def changed_files():
    """Files that differ from where this branch left main, uncommitted ones too."""
    base = _git("merge-base", "HEAD", _main()).strip()
    names = _git("diff", "--name-only", base) + _git("ls-files", "--others", "--exclude-standard")
    return sorted(set(names.splitlines()))


def _main():
    """The main branch as it was published; this clone's own where nothing was."""
    for name in ("origin/main", "main"):
        if _git("rev-parse", "--verify", "--quiet", name, check=False):
            return name
    return "HEAD"


def _git(*arguments, check=True):
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=check, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def rooms_of(files):
    """The labels of ctest that the files concern."""
    rooms = set()
    for file in files:
        found = re.match(r"(?:libcpdcomm|tests)/(\w+)/", file)
        if found:
            rooms |= {found[1], *RESTS_ON.get(found[1], [])}
        if file.startswith("perf/") and file.endswith((".cpp", ".hpp")):
            rooms.add("perf")
    return sorted(rooms)


def python_tests_of(files):
    """The Python test files that changed, or whose checks on ranks did."""
    tests = set()
    for file in files:
        name = file.rpartition("/")[2]
        if re.match(r"tests/(torch|perf)/test_\w+\.py$", file):
            tests.add(file)
        elif file.startswith("tests/torch/mpi/"):
            tests |= _those_that_import(name.removesuffix(".py"))
    return sorted(test for test in tests if (ROOT / test).exists())


def _those_that_import(module):
    folder = ROOT / "tests" / "torch"
    wanted = re.compile(rf"\b{module}\b")
    return {
        str(path.relative_to(ROOT))
        for path in folder.glob("test_*.py")
        if wanted.search(path.read_text())
    }
