"""FSDP2 and HSDP over backend cpd."""

import harness
import mpirun
import pytest
import sharded

RANKS = [2, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(sharded))
@pytest.mark.parametrize("ranks", RANKS)
def test_sharded(check, ranks):
    mpirun.passes("sharded", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("sharded", ranks)
