"""torch.distributed's operations over backend cpd, under mpirun and under torchrun."""

import harness
import mpirun
import operations
import pytest

RANKS = [3, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(operations))
@pytest.mark.parametrize("ranks", RANKS)
def test_under_mpirun(check, ranks):
    mpirun.passes("operations", check, ranks)


@pytest.mark.on_ranks(ranks=3, launcher="torchrun")
@pytest.mark.parametrize("check", harness.checks_of(operations))
def test_under_torchrun(check):
    mpirun.passes("operations", check, 3, launcher="torchrun")


# Each operation begins with one of gloo's then, in the caller's thread: callbacks get in its way.
UNCHECKED = {"a_callback_that_waits_for_another_operation"}
DETAIL = {"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}


@pytest.mark.on_ranks(ranks=3, launcher="torchrun", **DETAIL)
@pytest.mark.parametrize("check", [c for c in harness.checks_of(operations) if c not in UNCHECKED])
def test_with_torchs_own_checks(check):
    mpirun.passes("operations", check, 3, launcher="torchrun", **DETAIL)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_mpirun_ends_well(ranks):
    mpirun.ends("operations", ranks)


@pytest.mark.on_ranks(ranks=3, launcher="torchrun")
def test_torchrun_ends_well():
    mpirun.ends("operations", 3, launcher="torchrun")
