"""torch.distributed's operations over backend cpd."""

import backend
import harness
import mpirun
import pytest

RANKS = [3, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(backend))
@pytest.mark.parametrize("ranks", RANKS)
def test_backend(check, ranks):
    mpirun.passes("backend", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("backend", ranks)
