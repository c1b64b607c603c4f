"""The communication hooks of cpdcomm.ddp."""

import ddp_hooks
import harness
import mpirun
import pytest

RANKS = [2, 3]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(ddp_hooks))
@pytest.mark.parametrize("ranks", RANKS)
def test_ddp_hooks(check, ranks):
    mpirun.passes("ddp_hooks", check, ranks, timeout=200.0)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("ddp_hooks", ranks, timeout=200.0)
