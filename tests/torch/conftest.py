"""The files of checks that run under mpirun are found by their names; their ranks live on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mpi"))

import mpirun  # noqa: E402  which needs the path
import served  # noqa: E402


@pytest.fixture(autouse=True)
def ranks_that_live(launch):
    """Starts the ranks of a case before it, so that its own time is the check's."""
    if launch is not None:
        mpirun.ranks_of(**launch)


def pytest_sessionfinish():
    served.end_all()
