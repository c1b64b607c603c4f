"""Mistakes are an exception on every rank, and the group still sums."""

import harness
import misuse
import mpirun
import pytest

RANKS = [2, 3]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(misuse))
@pytest.mark.parametrize("ranks", RANKS)
def test_misuse(check, ranks):
    mpirun.passes("misuse", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("misuse", ranks)
