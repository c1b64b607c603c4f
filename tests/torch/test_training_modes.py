"""Ways in which people train, under both launchers."""

import harness
import mpirun
import pytest
import training_modes

LAUNCHES = [("mpirun", 2), ("mpirun", 4), ("torchrun", 4)]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(training_modes))
@pytest.mark.parametrize(("launcher", "ranks"), LAUNCHES)
def test_training(check, launcher, ranks):
    mpirun.passes("training_modes", check, ranks, 240.0, launcher)


@pytest.mark.on_ranks
@pytest.mark.parametrize(("launcher", "ranks"), LAUNCHES)
def test_the_launch_ends_well(launcher, ranks):
    mpirun.ends("training_modes", ranks, 240.0, launcher)
