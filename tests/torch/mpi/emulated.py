"""NodeEmulator on several ranks: each rank's micro-batches stand for nodes."""

import itertools

import harness
import numpy as np
import torch
from expected import Call, all_reduce
from harness import check
from inputs import WAYS
from patterns import same_bits
from torch.nn.parallel import DistributedDataParallel

import cpdcomm

FORMATS = ["e4m3", "e5m2", "e3m0", "e2m3", "bf16", "fp32"]


def parameters_for(arrays):
    """Parameters of these shapes."""
    return [torch.nn.Parameter(torch.zeros(array.shape)) for array in arrays]


def reduced(parts, call, group=None):
    """What NodeEmulator makes of this rank's parts[node][tensor]: the gradients and the report."""
    parameters = parameters_for(parts[0])
    emulator = cpdcomm.NodeEmulator(parameters, len(parts), group=group, **call.arguments())
    for part in parts:
        for parameter, gradient in zip(parameters, part, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        emulator.add()
        assert all(parameter.grad is None for parameter in parameters)
    report = emulator.reduce()
    return [parameter.grad.numpy() for parameter in parameters], report


def hold(ranks, nodes, calls):
    """Every call gives the formula's bits on every rank; each rank works out its share."""
    parts = [ranks.gradients[r * nodes : (r + 1) * nodes] for r in range(ranks.size)]
    for i, call in enumerate(calls):
        got, report = reduced(parts[ranks.rank], call, ranks.group)
        ranks.agree(got)
        assert list(report.non_finite) == [False] * len(got)
        assert report.algorithm == call.algorithm
        if i % ranks.size == ranks.rank:
            for t, want in enumerate(all_reduce(parts, call)):
                same_bits(got[t], want, f"{nodes} nodes, {call}, tensor {t}")


@check
def one_node(ranks):
    hold(ranks, 1, [Call(f, "aps", *way) for f in ("e4m3", "fp32") for way in WAYS])


@check
def two_nodes(ranks):
    hold(ranks, 2, [Call(f, "aps", *way) for f in FORMATS for way in WAYS])
    hold(ranks, 2, [Call("e4m3", "none", *way) for way in WAYS])
    hold(ranks, 2, [Call("e4m3", "aps", *way, "avg") for way in WAYS])


@check
def eight_nodes(ranks):
    hold(ranks, 8, [Call(f, "aps", *way) for f in ("e4m3", "e3m0") for way in WAYS])
    hold(ranks, 8, [Call("e5m2", "aps:512", *way, "avg") for way in WAYS])


@check
def a_format_per_parameter(ranks):
    wires = tuple("fp32" if g.ndim == 1 else "e4m3" for g in ranks.gradients[0])
    hold(ranks, 2, [Call(wires, "aps", *way) for way in WAYS])


@check
def one_node_is_an_all_reduce(ranks):
    mine = ranks.gradients[ranks.rank]
    for call in [Call("e4m3", "aps", *way) for way in WAYS]:
        plain = [torch.from_numpy(g.copy()) for g in mine]
        sent = ranks.all_reduce(plain, **call.arguments()).wire_bytes
        got, report = reduced([mine], call, ranks.group)
        assert report.wire_bytes == sent
        for g, want in zip(got, plain, strict=True):
            same_bits(g, want.numpy())


@check
def nodes_cost_nothing_on_the_wire(ranks):
    """However many nodes: one partial sum leaves the rank. A pair is two."""
    sent = {}
    for accumulate in ("rounded", "kahan"):
        for nodes in (1, 2, 8):
            parts = [[np.ones(100_000, np.float32)]] * nodes
            call = Call("e4m3", "aps", accumulate, "direct")
            sent[accumulate, nodes] = reduced(parts, call, ranks.group)[1].wire_bytes
    assert sent["rounded", 1] == sent["rounded", 2] == sent["rounded", 8]
    assert sent["kahan", 1] < sent["kahan", 2] == sent["kahan", 8] < 2 * sent["kahan", 1]


@check
def missing_gradients_and_frozen_parameters(ranks):
    a, frozen, b = (torch.nn.Parameter(torch.zeros(8)) for _ in range(3))
    frozen.requires_grad = False
    emulator = cpdcomm.NodeEmulator([a, frozen, b], 2, wire="e4m3", group=ranks.group)
    a.grad = torch.ones(8)
    emulator.add()
    if ranks.rank == 0:
        a.grad = torch.ones(8)
    emulator.add()
    report = emulator.reduce()
    assert len(report.non_finite) == 2
    assert a.grad.tolist() == [ranks.size + 1.0] * 8
    same_bits(b.grad.numpy(), np.zeros(8, np.float32))
    assert frozen.grad is None


@check
def a_model_in_ddp(ranks):
    """Backward under no_sync, as the documentation says, against gradients by hand."""

    def model_and_data():
        torch.manual_seed(3)
        model = torch.nn.Sequential(
            torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5)
        )
        data = torch.randn(ranks.size, 4, 8, 20), torch.randint(5, (ranks.size, 4, 8))
        return model, data

    alone, (inputs, labels) = model_and_data()
    loss = torch.nn.functional.cross_entropy
    parts = [[] for _ in range(ranks.size)]
    for rank, node in itertools.product(range(ranks.size), range(4)):
        alone.zero_grad()
        loss(alone(inputs[rank, node]), labels[rank, node]).backward()
        parts[rank].append([p.grad.numpy().copy() for p in alone.parameters()])

    for buckets in (False, True):
        model = DistributedDataParallel(
            model_and_data()[0], process_group=ranks.group, gradient_as_bucket_view=buckets
        )
        call = Call("e4m3", "aps", "kahan", "ring", "avg")
        emulator = cpdcomm.NodeEmulator(model, 4, group=ranks.group, **call.arguments())
        for _ in range(2):
            for node in range(4):
                with model.no_sync():
                    loss(model(inputs[ranks.rank, node]), labels[ranks.rank, node]).backward()
                emulator.add()
            emulator.reduce()
            for p, want in zip(model.parameters(), all_reduce(parts, call), strict=True):
                same_bits(p.grad.numpy(), want)
            model.zero_grad()


@check
def non_finite_gradients(ranks):
    """Inf in one micro-batch of one rank is NaN everywhere, and said per parameter."""
    for way in WAYS:
        parts = [[np.ones(9, np.float32), np.ones(5, np.float32)] for _ in range(3)]
        if ranks.rank == ranks.size - 1:
            parts[1][1][2] = np.inf
        got, report = reduced(parts, Call("e4m3", "aps", *way), ranks.group)
        assert list(report.non_finite) == [False, True]
        assert got[0].tolist() == [3.0 * ranks.size] * 9 and np.isnan(got[1]).all()
        got, report = reduced(parts, Call("e4m3", "none", *way), ranks.group)
        assert list(report.non_finite) == [False, True]
        assert np.flatnonzero(~np.isfinite(got[1])).tolist() == [2]


@check
def half_precision_models(ranks):
    for dtype in (torch.bfloat16, torch.float16):
        p = torch.nn.Parameter(torch.zeros(3, 4, dtype=dtype))
        emulator = cpdcomm.NodeEmulator([p], 2, wire="e4m3", group=ranks.group, op="avg")
        for node in range(2):
            p.grad = torch.full((4, 3), node + 1.0, dtype=dtype).t()
            emulator.add()
        emulator.reduce()
        assert p.grad.dtype == dtype and p.grad.shape == (3, 4)
        assert p.grad.tolist() == [[1.5] * 4] * 3


# --- misuse ---------------------------------------------------------------------------------------


def emulator_for(ranks, nodes=2, **options):
    p = torch.nn.Parameter(torch.zeros(5))
    return p, cpdcomm.NodeEmulator([p], nodes, group=ranks.group, **options)


def fill(emulator, p, nodes):
    for _ in range(nodes):
        p.grad = torch.ones(5)
        emulator.add()


def raised_by(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@check
def reduce_too_early(ranks):
    """One rank has too few parts: it is told so, its peers get a MismatchError, all go on."""
    for culprit in range(ranks.size):
        p, emulator = emulator_for(ranks)
        fill(emulator, p, 1 if ranks.rank == culprit else 2)
        error = raised_by(emulator.reduce)
        expected = ValueError if ranks.rank == culprit else cpdcomm.MismatchError
        assert isinstance(error, expected), repr(error)
        assert "1 of 2" in str(error) or ranks.size > 2, str(error)
        fill(emulator, p, 1 if ranks.rank == culprit else 2)
        emulator.reduce()
        assert p.grad.tolist() == [2.0 * ranks.size] * 5
        ranks.still_sums()


@check
def one_part_too_many(ranks):
    p, emulator = emulator_for(ranks)
    fill(emulator, p, 2)
    p.grad = torch.ones(5)
    error = raised_by(emulator.add)
    assert isinstance(error, ValueError) and "reduce()" in str(error), repr(error)
    assert p.grad.tolist() == [1.0] * 5, "not taken"
    emulator.reduce()
    assert p.grad.tolist() == [2.0 * ranks.size] * 5
    error = raised_by(emulator.reduce)
    assert isinstance(error, ValueError), repr(error)
    ranks.still_sums()


@check
def nodes_differ(ranks):
    nodes = 3 if ranks.rank == 0 else 2
    p, emulator = emulator_for(ranks, nodes)
    fill(emulator, p, nodes)
    error = raised_by(emulator.reduce)
    assert isinstance(error, cpdcomm.MismatchError), repr(error)
    ranks.still_sums()


@check
def wrong_arguments(ranks):
    for nodes in (0, -1):
        assert isinstance(raised_by(lambda: emulator_for(ranks, nodes)), ValueError)  # noqa: B023
    for name in ("wire", "scaling", "accumulate", "algorithm", "op", "rounding"):
        error = raised_by(lambda: emulator_for(ranks, **{name: "nonsense"}))  # noqa: B023
        assert isinstance(error, ValueError) and "nonsense" in str(error), repr(error)
    error = raised_by(lambda: emulator_for(ranks, wire=["e4m3", "e4m3"]))
    assert isinstance(error, ValueError), repr(error)
    ranks.still_sums()


@check
def gradients_of_other_types(ranks):
    p = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    p.grad = torch.ones(5, dtype=torch.float64)
    emulator = cpdcomm.NodeEmulator([p], 1, group=ranks.group)
    error = raised_by(emulator.add)
    assert isinstance(error, TypeError) and "float64" in str(error), repr(error)
    ranks.still_sums()


@check
def no_parameters(ranks):
    emulator = cpdcomm.NodeEmulator([], 2, wire="e4m3", group=ranks.group)
    emulator.add()
    emulator.add()
    assert list(emulator.reduce().non_finite) == []
    ranks.still_sums()


if __name__ == "__main__":
    harness.main()
