"""`exact` and `majority` on real processes."""

import harness
import integers
import mpirun
import pytest

RANKS = [2, 3, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(integers))
@pytest.mark.parametrize("ranks", RANKS)
def test_integers(check, ranks):
    mpirun.passes("integers", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("integers", ranks)
