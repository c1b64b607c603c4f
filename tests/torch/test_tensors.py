"""What an all-reduce takes, what becomes of special values, what it reports."""

import harness
import mpirun
import pytest
import tensors

RANKS = [2, 3]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(tensors))
@pytest.mark.parametrize("ranks", RANKS)
def test_tensors(check, ranks):
    mpirun.passes("tensors", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("tensors", ranks)
