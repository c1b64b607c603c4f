"""NodeEmulator: the nodes' formula, on several ranks and in one process without a group."""

import itertools

import emulated
import gradients
import harness
import mpirun
import numpy as np
import pytest
import torch
from expected import Call, all_reduce
from inputs import WAYS
from patterns import same_bits

import cpdcomm

RANKS = [2, 4]


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(emulated))
@pytest.mark.parametrize("ranks", RANKS)
def test_emulated(check, ranks):
    mpirun.passes("emulated", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("emulated", ranks)


# --- one process, no group ------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2, 8])
@pytest.mark.parametrize("wire", emulated.FORMATS)
def test_without_a_group(nodes, wire):
    parts = gradients.of_digits()[:nodes]
    for scaling, way in itertools.product(["aps", "none", "aps:512"], WAYS):
        call = Call(wire, scaling, *way, "avg" if scaling == "none" else "sum")
        got, report = emulated.reduced(parts, call)
        assert report.wire_bytes == 0
        assert report.logical_bytes == 4 * sum(g.size for g in parts[0])
        for t, want in enumerate(all_reduce([parts], call)):
            same_bits(got[t], want, f"{call} tensor {t}")


def test_a_module_and_an_optimizer():
    """One step with emulated nodes over FP32 is one step over the whole batch, but for rounding."""
    torch.manual_seed(5)
    inputs, labels = torch.randn(32, 6), torch.randint(3, (32,))
    results = []
    for nodes in (1, 4):
        torch.manual_seed(6)
        model = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        emulator = cpdcomm.NodeEmulator(model, nodes, op="avg")
        for _ in range(3):
            optimizer.zero_grad()
            for x, y in zip(inputs.chunk(nodes), labels.chunk(nodes), strict=True):
                torch.nn.functional.cross_entropy(model(x), y).backward()
                emulator.add()
            emulator.reduce()
            optimizer.step()
        results.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert (results[0] - results[1]).abs().max() < 1e-6


def test_memory_of_the_model_is_not_touched():
    """What the caller kept of his gradients stays as it was, but the first part's may serve."""
    p = torch.nn.Parameter(torch.zeros(5))
    emulator = cpdcomm.NodeEmulator([p], 2, wire="e4m3")
    kept = []
    for node in range(2):
        p.grad = torch.full((5,), node + 1.0)
        kept.append(p.grad)
        emulator.add()
    emulator.reduce()
    assert p.grad.tolist() == [3.0] * 5
    assert kept[1].tolist() == [2.0] * 5
    assert np.array_equal(p.detach(), np.zeros(5))


def test_misuse():
    p = torch.nn.Parameter(torch.zeros(5))
    emulator = cpdcomm.NodeEmulator([p], 2)
    with pytest.raises(ValueError, match="0 of 2"):
        emulator.reduce()
    emulator.add()
    with pytest.raises(ValueError, match="1 of 2"):
        emulator.reduce()
    emulator.add()
    with pytest.raises(ValueError, match="2 nodes"):
        emulator.add()
    emulator.reduce()
    assert p.grad.tolist() == [0.0] * 5
    with pytest.raises(ValueError, match="at least 1"):
        cpdcomm.NodeEmulator([p], 0)
    with pytest.raises(ValueError, match="e9m9"):
        cpdcomm.NodeEmulator([p], 2, wire="e9m9")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"wire": "e4m3", "accumulate": "kahan", "rounding": "stochastic"}, "kahan.*stochastic"),
        ({"wire": "int8", "accumulate": "rounded"}, "int8.*rounded"),
        ({"wire": ["bfp8"], "scaling": "aps"}, "bfp8.*aps"),
        ({"wire": "e2m1fn", "scaling": "none"}, "e2m1fn.*Inf"),
        ({"wire": "e4m3", "rounding": "stochastic", "seed": -1}, "seed is -1"),
        ({"wire": "e4m3", "seed": 1}, "seed 1 is for rounding 'stochastic'"),
    ],
)
def test_wrong_options_cost_no_gradients(arguments, words):
    """They are found before there are any."""
    with pytest.raises(ValueError, match=words):
        cpdcomm.NodeEmulator([torch.nn.Parameter(torch.zeros(5))], 2, **arguments)


@pytest.mark.parametrize("wire", ["e4m3fn", "bfp8", "mxfp4", "int8", "sign"])
def test_formats_by_name(wire):
    """One process of two nodes: their casts summed, cast for the wire, summed and cast again."""
    rng = np.random.default_rng(3)
    nodes = [torch.from_numpy(rng.standard_normal(999).astype(np.float32)) for _ in range(2)]
    p = torch.nn.Parameter(torch.zeros(999))
    emulator = cpdcomm.NodeEmulator([p], 2, wire=wire, scaling="none")
    for node in nodes:
        p.grad = node.clone()
        emulator.add()
    emulator.reduce()
    own = sum(cpdcomm.quantize(node, wire) for node in nodes)
    total = torch.zeros(999) + cpdcomm.quantize(own, wire)
    same_bits(p.grad.numpy(), cpdcomm.quantize(total, wire).numpy())
