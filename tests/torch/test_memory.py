"""Error feedback, delayed exponents and factors, on real processes and by themselves."""

import copy
import io

import harness
import memory
import mpirun
import pytest
import torch

import cpdcomm

RANKS = [2, 3, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(memory))
@pytest.mark.parametrize("ranks", RANKS)
def test_memory(check, ranks):
    mpirun.passes("memory", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("memory", ranks)


# --- ErrorFeedback and DelayedScaling without ranks -----------------------------------------------


@pytest.fixture
def feedback():
    """Residuals 1, 2, 3, 4 of the key "w"."""
    made = cpdcomm.ErrorFeedback()
    made.load_state_dict({"residuals": {"w": torch.arange(1.0, 5.0)}})
    return made


def test_residuals_are_zeros_at_first():
    feedback = cpdcomm.ErrorFeedback()
    assert len(feedback) == 0 and "w" not in feedback
    (residual,) = feedback.residuals_for(["w"], [torch.ones(2, 3).half()])
    assert residual.dtype == torch.float32 and residual.tolist() == [0.0] * 6
    assert feedback["w"] is residual and "w" in feedback
    with pytest.raises(KeyError):
        feedback["b"]


def test_residuals_follow_the_loss_scale(feedback):
    feedback.scale_(0.5)
    assert feedback["w"].tolist() == [0.5, 1.0, 1.5, 2.0]
    for factor in (0, -1.0, float("nan"), float("inf"), "2"):
        with pytest.raises(ValueError, match=f"factor is {factor!r}"):
            feedback.scale_(factor)
    assert feedback["w"].tolist() == [0.5, 1.0, 1.5, 2.0]


def test_residuals_are_pruned(feedback):
    feedback.mask_("w", torch.tensor([[True, False], [False, True]]))
    assert feedback["w"].tolist() == [1.0, 0.0, 0.0, 4.0]
    feedback.mask_("unknown", torch.ones(3).bool())
    with pytest.raises(ValueError, match="'w' has 3 values, its residual 4"):
        feedback.mask_("w", torch.ones(3).bool())
    with pytest.raises(TypeError, match="torch.float32"):
        feedback.mask_("w", torch.ones(4))


def test_residuals_are_forgotten(feedback):
    with pytest.raises(ValueError, match="'w' comes with 3 values; its residual has 4"):
        feedback.residuals_for(["b", "w"], [torch.ones(2), torch.ones(3)])
    assert feedback.keys() == ["w"], "nothing was allocated"
    feedback.reset("b")
    feedback.reset("w")
    assert feedback.residuals_for(["w"], [torch.ones(3)])[0].tolist() == [0.0] * 3
    feedback.reset()
    assert len(feedback) == 0


def test_a_checkpoint_of_residuals(feedback):
    state = feedback.state_dict()
    feedback["w"].zero_()
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    again = cpdcomm.ErrorFeedback()
    again.load_state_dict(torch.load(file))
    assert again["w"].tolist() == [1.0, 2.0, 3.0, 4.0], "a copy"
    for wrong in ({}, [], {"residuals": {}, "more": 1}):
        with pytest.raises(ValueError, match="no state of ErrorFeedback"):
            again.load_state_dict(wrong)
    for wrong in ({"w": torch.ones(3).double()}, {"w": [1.0]}, {1.5: torch.ones(3)}):
        with pytest.raises(TypeError):
            again.load_state_dict({"residuals": wrong})
    assert again["w"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert copy.deepcopy(again)["w"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_checkpoint_of_exponents():
    memory = cpdcomm.DelayedScaling()
    state = {"exponents": {"w": -7, 3: None}}
    memory.load_state_dict(state)
    assert (memory.exponent("w"), memory.exponent(3), memory.exponent("b")) == (-7, None, None)
    assert memory.state_dict() == state and memory.keys() == ["w", 3]
    for wrong in ({}, [], {"exponents": {"w": 1.5}}, {"exponents": {"w": 1000}}):
        with pytest.raises(ValueError):
            memory.load_state_dict(wrong)
    with pytest.raises(TypeError):
        memory.load_state_dict({"exponents": {1.5: 3}})
    assert memory.state_dict() == state
    memory.reset(3)
    assert memory.keys() == ["w"]
    memory.reset()
    assert memory.keys() == []
