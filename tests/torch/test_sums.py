"""Which bits an all-reduce gives, on real processes."""

import formats
import harness
import mpirun
import pytest
import stochastic
import sums

LAUNCHES = [(sums, 2), (sums, 3), (sums, 4)]
LAUNCHES += [(module, ranks) for module in (formats, stochastic) for ranks in (2, 3)]
CHECKS = [
    pytest.param(module.__name__, check, ranks, id=f"{module.__name__}-{check}-{ranks}")
    for module, ranks in LAUNCHES
    for check in harness.checks_of(module)
]


@pytest.mark.on_ranks
@pytest.mark.parametrize(("module", "check", "ranks"), CHECKS)
def test_sums(module, check, ranks):
    mpirun.passes(module, check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize(("module", "ranks"), [(m.__name__, ranks) for m, ranks in LAUNCHES])
def test_the_launch_ends_well(module, ranks):
    mpirun.ends(module, ranks)
