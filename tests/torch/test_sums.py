"""Which bits an all-reduce gives, on real processes."""

import harness
import mpirun
import pytest
import sums

RANKS = [2, 3, 4]


@pytest.mark.parametrize("check", harness.checks_of(sums))
@pytest.mark.parametrize("ranks", RANKS)
def test_sums(check, ranks):
    mpirun.passes("sums", check, ranks)


@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("sums", ranks)
