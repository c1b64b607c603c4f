"""CPD's names on several ranks: sums of gradients against CPD's formulas, and DistModule."""

import itertools
from collections import Counter

import harness
import numpy as np
import reference as ref
import reference_cpd
import torch
from harness import check
from inputs import noise
from patterns import both_signs, floats, same_bits
from torch.nn.parallel import DistributedDataParallel

import cpdcomm
from cpdcomm.compat.cpd.utils.dist_util import (
    DistModule,
    broadcast_params,
    kahan_sum_gradients,
    normal_sum_gradients,
    sum_gradients,
)
from cpdcomm.ddp import HookState, allreduce_hook

FORMATS = [(5, 2), (4, 3), (3, 0), (2, 3), (6, 9), (5, 10), (8, 7), (7, 22)]
FP32 = (8, 23)


class Parameters(torch.nn.Module):
    """A model that is nothing but parameters with given gradients; None is a missing one."""

    def __init__(self, gradients, shapes=None):
        super().__init__()
        shapes = shapes or [gradient.shape for gradient in gradients]
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = torch.from_numpy(np.array(gradient))
        self.all = torch.nn.ParameterList(parameters)

    def gradients(self):
        return [parameter.grad.numpy() for parameter in self.all]


def summed(gradients, exp, man, aps=False, kahan=False):
    """This rank's gradients after sum_gradients."""
    model = Parameters(gradients)
    before = [parameter.grad.data_ptr() for parameter in model.all]
    assert sum_gradients(model, aps, exp, man, kahan) is None
    assert before == [parameter.grad.data_ptr() for parameter in model.all], "not in place"
    return model.gradients()


def hold(ranks, parts, exp, man, aps, kahan):
    """sum_gradients gives the bits of CPD's formula; parts[rank][tensor]."""
    got = summed(parts[ranks.rank], exp, man, aps, kahan)
    ranks.agree(got)
    for t, mine in enumerate(got):
        want = reference_cpd.total([part[t] for part in parts], exp, man, aps, kahan)
        # Under APS the library saturates where CPD's rounding errors run over the top.
        kept = np.isfinite(want) if aps else np.full(want.shape, True)
        assert kept.mean() > 0.5 or not kept.size, "nothing left to compare"
        what = f"e{exp}m{man} aps={aps} kahan={kahan} tensor {t}"
        same_bits(mine[kept], want[kept], what)
        assert not aps or np.isfinite(mine).all(), what


@check
def real_gradients(ranks):
    parts = ranks.gradients[: ranks.size]
    for (exp, man), aps, kahan in itertools.product(FORMATS, [False, True], [False, True]):
        hold(ranks, parts, exp, man, aps, kahan)


@check
def gradients_of_many_magnitudes(ranks):
    """Of several sizes, so that ranks' shares end inside of tensors; and of none."""
    for counts in [(1,), (7, 0, 9), (1000, 24, 1, 5), (65537,)]:
        parts = [nodes[0] for nodes in noise(ranks, *counts)]
        for (exp, man), kahan in itertools.product([(5, 2), (4, 3), (6, 9)], [False, True]):
            hold(ranks, parts, exp, man, False, kahan)
            parts_not_zero = [[g for g in part if g.size] for part in parts]
            hold(ranks, parts_not_zero, exp, man, True, kahan)


@check
def no_gradient_is_cast_without_aps(ranks):
    """1 + 1.3125 is 2.5 in e5m2; had 1.3125 been cast to 1.25 before, it would be 2."""
    parts = [np.full(9, 1.0 if rank == 0 else 1.3125, np.float32) for rank in range(ranks.size)]
    want = reference_cpd.total(parts, 5, 2)
    cast_first = reference_cpd.total([ref.cast(part, 5, 2) for part in parts], 5, 2)
    assert (want != cast_first).all(), "the input does not tell the two apart"
    same_bits(summed([parts[ranks.rank]], 5, 2)[0], want)


@check
def inf_and_nan_without_aps(ranks):
    values = floats(both_signs([0, 1, 0x7F800000, 0x7FC00000, 0x7F800001, 0x7F7FFFFF, 0x3F800000]))
    parts = [[np.roll(values, rank)] for rank in range(ranks.size)]
    for (exp, man), kahan in itertools.product([*FORMATS, FP32], [False, True]):
        got = summed(parts[ranks.rank], exp, man, False, kahan)
        want = reference_cpd.total([part[0] for part in parts], exp, man, False, kahan)
        nan = np.isnan(want)
        assert (np.isnan(got[0]) == nan).all()
        same_bits(got[0][~nan], want[~nan], f"e{exp}m{man} kahan={kahan}")


@check
def fp32_is_added_in_rank_order(ranks):
    """By one call of all_reduce, which needs no copies."""
    parts = [nodes[0] for nodes in noise(ranks, 3000, 17)]
    for aps, kahan in itertools.product([False, True], [False, True]):
        before = calls()
        got = summed(parts[ranks.rank], *FP32, aps, kahan)
        assert calls() - before == {"all_reduce": 1}
        ranks.agree(got)
        for t, mine in enumerate(got):
            want = reference_cpd.total([part[t] for part in parts], *FP32, False, kahan)
            same_bits(mine, want, f"aps={aps} kahan={kahan}")


@check
def zero_gradients(ranks):
    """CPD's APS makes NaN of them. Zero on one rank alone changes nothing for the others."""
    for aps, kahan in itertools.product([False, True], [False, True]):
        got = summed([np.zeros(11, np.float32)], 5, 2, aps, kahan)
        same_bits(got[0], np.zeros(11, np.float32))
    parts = [nodes[0] for nodes in noise(ranks, 100)]
    parts[0] = [np.zeros(100, np.float32)]
    hold(ranks, parts, 5, 2, True, False)


@check
def tiny_gradients(ranks):
    """FP32 subnormals under APS, where CPD's power of two overflows."""
    mine = np.float32(2.0**-140) * np.arange(8, dtype=np.float32)
    got = summed([mine], 4, 3, aps=True)
    want = ref.all_reduce([[mine]] * ranks.size, 4, 3, accumulate="rounded", aps=True)
    assert np.isfinite(want).all() and want.any()
    same_bits(got[0], want)


@check
def missing_and_frozen(ranks):
    """A missing gradient counts as zero and is the sum; a frozen parameter keeps what it has."""
    for aps in (False, True):
        gradients = [None if ranks.rank == 0 else np.ones(5, np.float32), None]
        model = Parameters([*gradients, np.ones(3, np.float32)], [5, 2, 3])
        model.all[2].requires_grad = False
        model.all[2].grad = torch.full((3,), 7.0)
        sum_gradients(model, use_APS=aps)
        want = [[ranks.size - 1.0] * 5, [0.0] * 2, [7.0] * 3]
        assert [g.tolist() for g in model.gradients()] == want


@check
def torchs_defaults_are_not_asked(ranks):
    """Neither its device nor its type."""
    for aps in (False, True):
        model = Parameters([np.ones(5, np.float32), None], [5, 2])
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                sum_gradients(model, use_APS=aps)
        finally:
            torch.set_default_dtype(torch.float32)
        assert [g.tolist() for g in model.gradients()] == [[ranks.size] * 5, [0.0] * 2]


@check
def other_shapes_and_types(ranks):
    for aps in (False, True):
        model = Parameters([None, None], [(), (0, 3)])
        transposed = torch.nn.Parameter(torch.zeros(3, 4))
        transposed.grad = (torch.arange(12.0).view(4, 3) % 2).t()
        half = torch.nn.Parameter(torch.zeros(6, dtype=torch.bfloat16))
        half.grad = torch.ones(6, dtype=torch.bfloat16)
        model.all.extend([transposed, half])
        model.all[0].grad = torch.tensor(1.0)
        model.all[1].grad = torch.ones(0, 3)
        sum_gradients(model, aps)
        assert model.all[0].grad.item() == ranks.size and model.all[0].grad.shape == ()
        assert model.all[1].grad.shape == (0, 3)
        want = ranks.size * (torch.arange(12.0).view(4, 3) % 2).t()
        assert torch.equal(transposed.grad, want)
        assert half.grad.dtype == torch.bfloat16 and half.grad.tolist() == [ranks.size] * 6


@check
def a_parameter_used_twice(ranks):
    layer = torch.nn.Linear(3, 3, bias=False)
    model = torch.nn.Sequential(layer, layer)
    layer.weight.grad = torch.ones(3, 3)
    sum_gradients(model)
    assert layer.weight.grad.tolist() == [[float(ranks.size)] * 3] * 3


@check
def the_other_two_names(ranks):
    parts = [nodes[0] for nodes in noise(ranks, 300)]
    for function, kahan in [(normal_sum_gradients, False), (kahan_sum_gradients, True)]:
        for exp, man in [(4, 3), FP32]:
            model = Parameters(parts[ranks.rank])
            function(model, exp, man)
            want = reference_cpd.total([part[0] for part in parts], exp, man, False, kahan)
            same_bits(model.gradients()[0], want)
        model = Parameters(parts[ranks.rank])
        function(model)
        want = reference_cpd.total([part[0] for part in parts], *FP32, False, kahan)
        same_bits(model.gradients()[0], want, "the defaults")


@check
def options_of_others_change_nothing(ranks):
    """CPD's result, whatever else holds here."""
    parts = [nodes[0] for nodes in noise(ranks, 500)]
    ring = {"wire": "e3m0", "accumulate": "wide", "algorithm": "ring", "rounding": "stochastic"}
    exact = {"wire": "int8", "accumulate": "exact", "algorithm": "hierarchical", "result": "wire"}
    for others in (ring | {"collectives": ["all_reduce", "all_gather"]}, exact):
        with cpdcomm.options(**others):
            for aps, kahan in itertools.product([False, True], [False, True]):
                hold(ranks, parts, 4, 3, aps, kahan)
            hold(ranks, parts, *FP32, False, False)


@check
def what_travels(ranks):
    """Packed both ways with APS; without it FP32 on the way in, and the sums packed."""
    count = 80_000
    chunk = count * (ranks.size - 1) // ranks.size  # values to or from all others

    def sent(aps, kahan):
        before = bytes_sent()
        summed([np.ones(count, np.float32)], 4, 3, aps, kahan)
        return bytes_sent() - before

    for kahan in (False, True):
        assert 2 * chunk <= sent(True, kahan) < 2 * chunk + count // 20
        assert 5 * chunk <= sent(False, kahan) < 5 * chunk + count // 20


def bytes_sent():
    return sum(totals.wire_bytes for totals in cpdcomm.stats().by_operation.values())


def calls():
    """How often each operation was called on the default group."""
    by_operation = cpdcomm.stats().by_operation
    return Counter({name: totals.calls for name, totals in by_operation.items()})


# --- misuse ---------------------------------------------------------------------------------------


def raised_by(call):
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def all_sum(ranks):
    """The default group works."""
    got = summed([np.ones(4, np.float32)], 5, 2, True)
    assert got[0].tolist() == [float(ranks.size)] * 4


@check
def one_rank_asks_for_nonsense(ranks):
    """It is told what is allowed, its peers that it was refused, and all go on."""
    for aps, culprit in itertools.product([False, True], range(ranks.size)):
        exp = 9 if ranks.rank == culprit else 5
        model = Parameters([np.ones(5, np.float32)])
        error = raised_by(lambda: sum_gradients(model, aps, exp, 2))  # noqa: B023
        if ranks.rank == culprit:
            assert isinstance(error, ValueError) and "1 to 8" in str(error), repr(error)
        else:
            assert isinstance(error, cpdcomm.MismatchError), repr(error)
        all_sum(ranks)


@check
def gradients_that_cannot_be_summed(ranks):
    model = torch.nn.Linear(2, 2).double()
    model.weight.grad = torch.ones(2, 2, dtype=torch.float64)
    error = raised_by(lambda: sum_gradients(model))
    assert isinstance(error, TypeError) and "weight" in str(error), repr(error)
    table = torch.nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    error = raised_by(lambda: sum_gradients(table))
    assert isinstance(error, ValueError) and "weight" in str(error), repr(error)
    all_sum(ranks)


# --- DistModule -----------------------------------------------------------------------------------


def network(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    model[1].running_mean += seed
    model[1].num_batches_tracked += seed
    return model


@check
def everybody_has_rank_zeros_parameters(ranks):
    want = network(0).state_dict()
    plain, wrapped = network(ranks.rank), network(ranks.rank)
    assert torch.equal(plain[0].weight, want["0.weight"]) == (ranks.rank == 0)
    broadcast_params(plain)
    DistModule(wrapped)
    for model in (plain, wrapped):
        for name, value in model.state_dict().items():
            assert torch.equal(value, want[name]), name


@check
def a_dist_module_is_its_module(ranks):
    model = network(3)
    wrapped = DistModule(model)
    x = torch.randn(5, 6)
    calls = []
    wrapped.register_forward_hook(lambda *_: calls.append("outer"))
    model.register_forward_hook(lambda *_: calls.append("inner"))
    model[0].weight.register_hook(lambda _: calls.append("gradient"))
    assert torch.equal(wrapped(x), model(x)) and calls == ["inner", "outer", "inner"]
    wrapped(input=x).sum().backward()
    assert calls[3:] == ["inner", "outer", "gradient"]
    assert [name for name, _ in wrapped.named_parameters()] == [
        f"module.{name}" for name, _ in model.named_parameters()
    ]
    assert wrapped.eval() is wrapped and not model[1].training
    wrapped.train()
    assert model[1].training
    again = DistModule(network(4))
    again.load_state_dict(wrapped.state_dict())
    assert torch.equal(again.module[0].weight, model[0].weight)


@check
def gradients_of_a_dist_module(ranks):
    """Of a backward pass over each rank's own rows."""
    rows = torch.from_numpy(np.random.default_rng(5).standard_normal((4, 6)).astype(np.float32))
    alone = [network(0) for _ in range(ranks.size)]
    for rank, model in enumerate(alone):
        model(rows + rank).square().sum().backward()
    wrapped = DistModule(network(ranks.rank))
    wrapped(rows + ranks.rank).square().sum().backward()
    sum_gradients(wrapped, use_APS=True, grad_exp=4, grad_man=3)
    for t, parameter in enumerate(wrapped.parameters()):
        parts = [list(model.parameters())[t].grad.numpy() for model in alone]
        want = reference_cpd.total(parts, 4, 3, aps=True)
        same_bits(parameter.grad.numpy(), want)


@check
def the_native_way_gives_the_same(ranks):
    """DistributedDataParallel with our hook, as coming-from-cpd.md says, but for its average."""
    rows = torch.from_numpy(np.random.default_rng(6).standard_normal((4, 6)).astype(np.float32))
    for accumulate in ("rounded", "kahan"):
        wrapped = DistModule(network(ranks.rank))
        wrapped(rows + ranks.rank).square().sum().backward()
        sum_gradients(wrapped, use_APS=True, use_kahan=accumulate == "kahan")
        model = DistributedDataParallel(network(ranks.rank))
        state = HookState(model, wire="e5m2", accumulate=accumulate, algorithm="direct")
        model.register_comm_hook(state, allreduce_hook)
        model(rows + ranks.rank).square().sum().backward()
        for ours, theirs in zip(wrapped.parameters(), model.parameters(), strict=True):
            want = ours.grad.numpy() / np.float32(ranks.size)
            same_bits(theirs.grad.numpy(), want, accumulate)


if __name__ == "__main__":
    harness.main()
