"""DistributedDataParallel over backend cpd."""

import ddp
import harness
import mpirun
import pytest

RANKS = [2, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(ddp))
@pytest.mark.parametrize("ranks", RANKS)
def test_ddp(check, ranks):
    mpirun.passes("ddp", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("ddp", ranks)
