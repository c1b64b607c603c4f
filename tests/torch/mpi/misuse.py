"""Mistakes: a clear exception on every rank, soon, and a group that still sums."""

import time
import warnings

import harness
import numpy as np
import torch
import torch.distributed as dist
from harness import check

import cpdcomm
from cpdcomm import ddp, fsdp

SOON = harness.SECONDS / 2  # far below any timeout, also on a busy machine


def raised_by(call):
    """The exception of a call, which must come soon."""
    start = time.monotonic()
    try:
        call()
    except Exception as error:
        took = time.monotonic() - start
        assert took < SOON, f"{type(error).__name__} took {took} s: {error}"
        return error
    raise AssertionError("nothing was raised")


def everywhere(ranks, expected, call, *words):
    """All ranks make the same mistake, and all are told of it."""
    error = raised_by(call)
    assert isinstance(error, expected), repr(error)
    for word in words:
        assert word in str(error), str(error)
    ranks.still_sums()


def on_one_rank(ranks, expected, wrong, right, *words):
    """Each rank in turn makes a mistake; its peers get a MismatchError that names it."""
    for culprit in range(ranks.size):
        if ranks.rank == culprit:
            error = raised_by(wrong)
            assert isinstance(error, expected), repr(error)
            for word in words:
                assert word in str(error), str(error)
        else:
            error = raised_by(right)
            assert isinstance(error, cpdcomm.MismatchError), repr(error)
            assert f"rank {culprit}" in str(error) or ranks.size > 2, str(error)
        ranks.still_sums()


def differ(ranks, call_of):
    """call_of(True) on one rank and call_of(False) on the others: MismatchError on all."""
    for culprit in range(ranks.size):
        error = raised_by(call_of(ranks.rank == culprit))
        assert isinstance(error, cpdcomm.MismatchError), repr(error)
        ranks.still_sums()


def both_ways(ranks, expected, wrong, *words):
    """A mistake of all ranks, and of one while the others sum."""
    everywhere(ranks, expected, wrong, *words)
    on_one_rank(ranks, expected, wrong, lambda: ranks.all_reduce(torch.ones(9)), *words)


def with_arguments(ranks, *args, **kwargs):
    return lambda: ranks.all_reduce([torch.ones(9)], *args, **kwargs)


# --- arguments ------------------------------------------------------------------------------------


@check
def unknown_formats(ranks):
    for wire in ("float8", "e4", "e9m3", "e0m3", "e4m24", "", "e4m3fnx", "E4M3"):
        wrong = with_arguments(ranks, wire=wire)
        both_ways(ranks, ValueError, wrong, "e4m3" if wire == "E4M3" else wire, "fp32")
    both_ways(ranks, ValueError, with_arguments(ranks, wire=["e9m9"]), "e9m9")


@check
def formats_for_another_number_of_tensors(ranks):
    for wires in ([], ["e4m3", "e4m3"]):
        both_ways(ranks, ValueError, with_arguments(ranks, wire=wires), str(len(wires)))


@check
def formats_of_a_wrong_type(ranks):
    for wires in ([8], 8, [b"e4m3"]):
        both_ways(ranks, TypeError, with_arguments(ranks, wire=wires))


@check
def unknown_words(ranks):
    for name, known in [
        ("scaling", ["aps", "none"]),
        ("accumulate", ["wide", "rounded", "kahan", "exact", "majority"]),
        ("algorithm", ["automatic", "direct", "ring", "tree", "halving_doubling", "hierarchical"]),
        ("across", ["ring", "tree"]),
        ("inner", ["fp32", "e4m3"]),
        ("result", ["full", "wire"]),
        ("op", ["sum", "avg"]),
        ("rounding", ["nearest_even", "stochastic"]),
    ]:
        both_ways(
            ranks, ValueError, with_arguments(ranks, **{name: "nonsense"}), "nonsense", *known
        )
    for op in ("max", "product", "SUM"):
        both_ways(ranks, ValueError, with_arguments(ranks, op=op), op)
    for scaling in ("aps:", "aps:0", "aps:7", "aps:-8", "aps:8x"):
        both_ways(ranks, ValueError, with_arguments(ranks, wire="e4m3", scaling=scaling), scaling)


@check
def arguments_of_a_wrong_type(ranks):
    for name in ("scaling", "accumulate", "algorithm", "op", "rounding"):
        both_ways(ranks, (TypeError, ValueError), with_arguments(ranks, **{name: 7}))


@check
def formats_that_cannot(ranks):
    """What has no meaning for a format is refused, with what would."""
    for wire, other, words in [
        ("bfp8", {"scaling": "aps"}, ["tensor 0", "bfp8", "aps", "automatic"]),
        ("mxfp4", {"scaling": "aps:64"}, ["mxfp4", "aps:64"]),
        ("int8", {"accumulate": "rounded"}, ["int8", "rounded", "wide"]),
        ("sign", {"accumulate": "kahan"}, ["sign", "kahan", "wide"]),
        ("e2m1fn", {"scaling": "none"}, ["e2m1fn", "Inf", "aps"]),
    ]:
        both_ways(ranks, ValueError, with_arguments(ranks, wire, **other), *words)
        if set(other) != {"accumulate"}:
            both_ways(ranks, ValueError, with_arguments(ranks, [wire], **other), *words)


@check
def rounding_and_seeds(ranks):
    kahan = {"wire": "e4m3", "accumulate": "kahan", "rounding": "stochastic"}
    both_ways(ranks, ValueError, with_arguments(ranks, **kahan), "kahan", "stochastic", "wide")
    for seed in (-1, 1 << 32):
        wrong = with_arguments(ranks, rounding="stochastic", seed=seed)
        both_ways(ranks, ValueError, wrong, str(seed), "2**32")
    for seed in (1.5, "1", torch.tensor(1)):
        wrong = with_arguments(ranks, rounding="stochastic", seed=seed)
        both_ways(ranks, TypeError, wrong, "seed", type(seed).__name__)
    for rounding in (None, "nearest_even"):
        both_ways(ranks, ValueError, with_arguments(ranks, rounding=rounding, seed=5), "seed 5")


@check
def wrong_boundaries(ranks):
    for ends in ([], [4], [4, 9], [6, 4, 10], [-1, 10], [4, 11], [11, 10]):
        both_ways(ranks, ValueError, lambda: ranks.all_reduce(torch.ones(10), boundaries=ends))  # noqa: B023
    both_ways(ranks, ValueError, lambda: ranks.all_reduce(torch.ones(2, 5), boundaries=[10]))
    both_ways(ranks, ValueError, lambda: ranks.all_reduce([torch.ones(5)] * 2, boundaries=[5, 10]))
    both_ways(ranks, TypeError, lambda: ranks.all_reduce(torch.ones(10), boundaries=[4.5, 10]))


# --- tensors --------------------------------------------------------------------------------------


@check
def tensors_of_other_types(ranks):
    for dtype in (
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.float64,
        torch.complex64,
    ):
        wrong = torch.ones(9, dtype=dtype)
        name = str(dtype).removeprefix("torch.")
        both_ways(ranks, TypeError, lambda: ranks.all_reduce([wrong]), name)  # noqa: B023
        both_ways(ranks, TypeError, lambda: ranks.all_reduce([torch.ones(2), wrong]), name)  # noqa: B023


@check
def tensors_elsewhere(ranks):
    meta = torch.ones(9, device="meta")
    both_ways(ranks, ValueError, lambda: ranks.all_reduce([meta]), "meta", "CPU")
    both_ways(
        ranks, ValueError, lambda: ranks.all_reduce([torch.ones(9), meta]), "tensor 1", "meta"
    )
    both_ways(ranks, ValueError, lambda: ranks.all_reduce(meta, boundaries=[9]), "meta")


@check
def sparse_tensors(ranks):
    sparse = torch.eye(3).to_sparse()
    both_ways(ranks, ValueError, lambda: ranks.all_reduce([sparse]), "dense")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in beta, says torch
        csr = torch.eye(3).to_sparse_csr()
    both_ways(ranks, ValueError, lambda: ranks.all_reduce([torch.ones(9), csr]), "dense")


@check
def no_tensors_at_all(ranks):
    for wrong in ([1.0], [None], [np.ones(9, np.float32)], [[torch.ones(9)]], None, 3, "e4m3"):
        both_ways(ranks, TypeError, lambda: ranks.all_reduce(wrong))  # noqa: B023


@check
def a_generator_that_fails(ranks):
    def failing():
        yield torch.ones(9)
        raise KeyError("no more")

    both_ways(ranks, KeyError, lambda: ranks.all_reduce(failing()))


# --- ranks that disagree --------------------------------------------------------------------------


def one_or_other(ranks, this, that):
    """Arguments of all_reduce: (tensors, keywords)."""

    def call_of(culprit):
        tensors, keywords = this if culprit else that
        return lambda: ranks.all_reduce([t.clone() for t in tensors], **keywords)

    return call_of


@check
def counts_differ(ranks):
    for this, that in [(9, 10), (1, 0), (0, 1), (100_000, 100_001), (1, 1_000_000), (1_000_000, 1)]:
        for keywords in ({}, {"wire": "e4m3"}, {"wire": "e4m3", "algorithm": "ring"}):
            a, b = ([torch.ones(this)], keywords), ([torch.ones(that)], keywords)
            differ(ranks, one_or_other(ranks, a, b))


@check
def tensor_lists_differ(ranks):
    ten = [torch.ones(10)]
    for other in (
        [torch.ones(5)] * 2,
        [torch.ones(4), torch.ones(6)],
        [],
        ten * 2,
        ten + [torch.ones(0)],
    ):
        for keywords in ({}, {"wire": "e4m3"}):
            differ(ranks, one_or_other(ranks, (ten, keywords), (other, keywords)))
    a, b = [torch.ones(4), torch.ones(6)], [torch.ones(6), torch.ones(4)]
    differ(ranks, one_or_other(ranks, (a, {}), (b, {})))


@check
def boundaries_differ(ranks):
    flat = [torch.ones(10)]
    a, b = {"boundaries": [4, 10]}, {"boundaries": [6, 10]}
    differ(ranks, one_or_other(ranks, (flat, a), (flat, b)))
    differ(ranks, one_or_other(ranks, (flat, a), (flat, {})))


@check
def types_differ(ranks):
    for dtype in (torch.bfloat16, torch.float16):
        for keywords in ({}, {"wire": "e4m3"}):
            a, b = ([torch.ones(10)], keywords), ([torch.ones(10, dtype=dtype)], keywords)
            differ(ranks, one_or_other(ranks, a, b))


@check
def options_differ(ranks):
    x = [torch.ones(1000), torch.ones(10)]
    base = {"wire": "e4m3", "algorithm": "direct", "op": "sum"}
    for other in [
        {"wire": "e5m2"},
        {"wire": "e3m4"},  # as many bits
        {"wire": "fp32"},
        {"wire": ["e4m3", "fp32"]},
        {"wire": ["fp32", "e4m3"]},
        {"scaling": "none"},
        {"scaling": "aps:8"},
        {"accumulate": "rounded"},
        {"accumulate": "kahan"},
        {"algorithm": "ring"},
        {"op": "avg"},
    ]:
        differ(ranks, one_or_other(ranks, (x, base), (x, base | other)))
    for a, b in [
        ({"scaling": "aps:8"}, {"scaling": "aps:16"}),
        ({"wire": "bf16"}, {"wire": "fp16"}),
        ({"wire": "bfp8:64"}, {"wire": "bfp8:128"}),
        ({"wire": "mxfp8e4m3"}, {"wire": "mxfp8e5m2"}),
    ]:
        differ(ranks, one_or_other(ranks, (x, base | a), (x, base | b)))


@check
def rounding_and_seeds_differ(ranks):
    x = [torch.ones(1000), torch.ones(10)]
    nearest = {"wire": "e4m3"}
    drawn = nearest | {"rounding": "stochastic"}
    for a, b in [
        (nearest, drawn),
        (nearest, drawn | {"seed": 1}),
        (drawn | {"seed": 1}, drawn | {"seed": 2}),
        (drawn | {"seed": 1}, drawn),  # who names none asks the group first
        (drawn, drawn | {"seed": 1}),
    ]:
        differ(ranks, one_or_other(ranks, (x, a), (x, b)))
        for seed in ({"seed": 1}, {}):  # in the same step
            ranks.all_reduce([t.clone() for t in x], **drawn, **seed)


@check
def groups_of_other_options(ranks):
    """Options of the group that differ from rank to rank are found at the first sum."""
    group = harness.new_group(wire="e4m3" if ranks.rank == 0 else "e5m2", min_bytes=0)
    for _ in range(2):
        error = raised_by(lambda: dist.all_reduce(torch.ones(9), group=group))
        assert isinstance(error, cpdcomm.MismatchError), repr(error)
    x = torch.ones(9)
    cpdcomm.all_reduce(x, wire="fp32", group=group)
    assert x.tolist() == [ranks.size] * 9


@check
def operations_differ(ranks):
    """One rank is somewhere else in the program."""

    def gather():
        places = [torch.zeros(9) for _ in range(ranks.size)]
        return dist.all_gather(places, torch.ones(9), group=ranks.group)

    others = [
        lambda: dist.barrier(group=ranks.group),
        gather,
        lambda: dist.all_reduce(torch.ones(9, dtype=torch.int64), group=ranks.group),
        lambda: dist.all_reduce(torch.ones(9), op=dist.ReduceOp.MAX, group=ranks.group),
    ]
    for other in others:
        differ(ranks, lambda culprit: other if culprit else with_arguments(ranks))  # noqa: B023
    differ(ranks, lambda culprit: others[0] if culprit else others[1])


@check
def roots_differ(ranks):
    """Who waits for a root has its values, or learns that it asked for another one."""
    root = 0 if ranks.rank == 0 else 1
    x = torch.full((9,), float(ranks.rank))
    try:
        dist.broadcast(x, src=root, group=ranks.group)
    except cpdcomm.MismatchError:
        assert ranks.rank != root
    else:
        assert x.tolist() == [float(root)] * 9
    ranks.still_sums()


@check
def broadcasts_differ(ranks):
    """The root need not wait, so it may not learn of it."""
    x = torch.ones(9 if ranks.rank == 0 else 10)
    if ranks.rank == 0:
        try:
            dist.broadcast(x, src=0, group=ranks.group)
        except cpdcomm.MismatchError:
            pass
    else:
        error = raised_by(lambda: dist.broadcast(x, src=0, group=ranks.group))
        assert isinstance(error, cpdcomm.MismatchError), repr(error)
    ranks.still_sums()


# --- groups ---------------------------------------------------------------------------------------


@check
def a_group_of_another_backend(ranks):
    gloo = dist.new_group(backend="gloo")
    everywhere(
        ranks,
        ValueError,
        lambda: cpdcomm.all_reduce([torch.ones(9)], wire="e4m3", group=gloo),
        "gloo",
        "cpd",
    )
    everywhere(ranks, ValueError, lambda: cpdcomm.stats(gloo), "gloo")
    x = torch.ones(9)
    dist.all_reduce(x, group=gloo)
    assert x.tolist() == [ranks.size] * 9


@check
def a_group_that_others_are_in(ranks):
    group = dist.new_group([0])
    if ranks.rank == 0:
        x = torch.full((9,), 3.0)
        cpdcomm.all_reduce(x, wire="e4m3", group=group)
        assert x.tolist() == [3.0] * 9
    else:
        error = raised_by(lambda: cpdcomm.all_reduce([torch.ones(9)], group=group))
        assert isinstance(error, ValueError), repr(error)
    ranks.still_sums()


@check
def no_group_at_all(ranks):
    for wrong in ("world", 3):
        everywhere(
            ranks,
            (TypeError, ValueError),
            lambda: cpdcomm.all_reduce([torch.ones(9)], group=wrong),  # noqa: B023
        )


@check
def options_of_another_kind(ranks):
    for wrong in ({"wire": "e4m3"}, "e4m3"):
        error = raised_by(lambda: dist.new_group(backend="cpd", pg_options=wrong))  # noqa: B023
        assert isinstance(error, TypeError) and "cpdcomm.Options" in str(error), repr(error)


@check
def options_of_another_kind_on_one_rank(ranks):
    """Its peers learn of it while they make the group."""
    for culprit in range(ranks.size):
        options = {"wire": "e4m3"} if ranks.rank == culprit else cpdcomm.Options(timeout=20)
        error = raised_by(lambda: dist.new_group(backend="cpd", pg_options=options))  # noqa: B023
        expected = TypeError if ranks.rank == culprit else cpdcomm.UnsupportedError
        assert isinstance(error, expected) and "cpdcomm.Options" in str(error), repr(error)
    ranks.still_sums()


# --- the backend ----------------------------------------------------------------------------------


@check
def operators_that_do_not_exist(ranks):
    def reduce(dtype, op):
        return lambda: dist.all_reduce(torch.ones(9, dtype=dtype), op=op, group=ranks.group)

    for dtype, op in [
        (torch.int32, dist.ReduceOp.AVG),
        (torch.bool, dist.ReduceOp.AVG),
        (torch.float32, dist.ReduceOp.BAND),
        (torch.float64, dist.ReduceOp.BXOR),
        (torch.bfloat16, dist.ReduceOp.BOR),
    ]:
        both_ways(ranks, (NotImplementedError, RuntimeError), reduce(dtype, op))
    both_ways(ranks, RuntimeError, reduce(torch.float8_e4m3fn, dist.ReduceOp.SUM), "float8_e4m3fn")


@check
def sparse_tensors_in_the_backend(ranks):
    """Summed, and nothing else. (A meta tensor is torch's affair, it never comes here.)"""

    def largest():
        dist.all_reduce(torch.eye(3).to_sparse(), op=dist.ReduceOp.MAX, group=ranks.group)

    for call in (
        largest,
        lambda: dist.broadcast(torch.eye(3).to_sparse(), src=0, group=ranks.group),
    ):
        error = raised_by(call)
        assert isinstance(error, (RuntimeError, ValueError, NotImplementedError)), repr(error)
        ranks.still_sums()


@check
def gathers_into_a_wrong_place(ranks):
    def gather(*places):
        return lambda: dist.all_gather(list(places), torch.ones(9), group=ranks.group)

    for wrong in (
        gather(*[torch.ones(8) for _ in range(ranks.size)]),
        gather(*[torch.ones(9, dtype=torch.int32) for _ in range(ranks.size)]),
        gather(*[torch.ones(9) for _ in range(ranks.size + 1)]),
        lambda: dist.all_gather_into_tensor(torch.ones(9), torch.ones(9), group=ranks.group),
    ):
        everywhere(ranks, (RuntimeError, ValueError, TypeError), wrong)


@check
def an_exception_through_wait(ranks):
    """An asynchronous operation that fails says so to all who ask."""
    works = [
        dist.all_reduce(torch.ones(9 + ranks.rank), group=ranks.group, async_op=True),
        dist.all_reduce(torch.ones(9), group=ranks.group, async_op=True),
    ]
    assert isinstance(raised_by(works[0].wait), cpdcomm.MismatchError)
    assert works[0].is_completed()
    assert isinstance(raised_by(works[0].wait), cpdcomm.MismatchError), "once more"
    error = raised_by(works[0].get_future().wait)
    assert "values" in str(error) or "gave up" in str(error), repr(error)
    works[1].wait()
    ranks.still_sums()


def unwritable(count):
    """Many values in the place of one."""
    return torch.zeros(1).expand(count)


@check
def results_that_cannot_be_written(ranks):
    """Found amid an operation: the peers do not go on with calls that meet others of this rank."""
    size = ranks.size

    def gather(place):
        inputs = [torch.full((4,), float(ranks.rank)), torch.full((4,), 10.0)]
        with dist._coalescing_manager(group=ranks.group):
            for output, part in zip([place, torch.zeros(4 * size)], inputs, strict=True):
                dist.all_gather_into_tensor(output, part, group=ranks.group)

    def scatter(place):
        with dist._coalescing_manager(group=ranks.group):
            for output in (place, torch.zeros(4)):
                dist.reduce_scatter_tensor(output, torch.ones(4 * size), group=ranks.group)

    for call, count in ((gather, 4 * size), (scatter, 4)):
        on_one_rank(
            ranks,
            RuntimeError,
            lambda call=call, count=count: call(unwritable(count)),
            lambda call=call, count=count: call(torch.zeros(count)),
            "single memory location",
        )
        in_step(ranks)


@check
def a_message_that_cannot_be_written(ranks):
    if ranks.rank == 0:
        for peer in range(1, ranks.size):
            dist.send(torch.ones(4), peer)
    else:
        error = raised_by(lambda: dist.recv(unwritable(4), 0))
        assert "single memory location" in str(error), repr(error)
    ranks.still_sums()


def in_step(ranks):
    """All ranks count the same operations, which torch compares under DETAIL."""
    backend = ranks.group._get_backend(torch.device("cpu"))
    mine = torch.tensor([backend._get_sequence_number_for_group()])
    of_all = [torch.zeros_like(mine) for _ in range(ranks.size)]
    dist.all_gather(of_all, mine, group=ranks.group)
    assert len({number.item() for number in of_all}) == 1, of_all


@check
def the_first_of_stochastic_calls(ranks):
    """The ranks agree on a seed before they disagree on sizes."""
    group = harness.new_group(wire="e4m3", rounding="stochastic", algorithm="direct", min_bytes=0)

    def summed(count):
        tensor = torch.ones(count)
        dist.all_reduce(tensor, group=group)
        return tensor.tolist()

    def gathered(count):
        with cpdcomm.options(collectives=["all_gather"]):
            dist.all_gather_into_tensor(torch.zeros(9 * ranks.size), torch.ones(count), group=group)

    for call in (summed, gathered):
        error = raised_by(lambda call=call: call(9 + (ranks.rank == 0)))
        assert isinstance(error, (cpdcomm.MismatchError, ValueError)), repr(error)
        assert summed(9) == [float(ranks.size)] * 9


@check
def arguments_of_a_reduce_scatter(ranks):
    def call(**named):
        parts = torch.ones(4 * ranks.size)
        return lambda: cpdcomm.reduce_scatter(torch.zeros(4), parts, group=ranks.group, **named)

    for expected, named, word in (
        (TypeError, {"boundaries": [2.0, 4]}, "float"),
        (ValueError, {"boundaries": [-1, 4]}, "ascend from 0 to 4"),
        (ValueError, {"boundaries": [2, 3]}, "ascend from 0 to 4"),
        (TypeError, {"wire": ["e4m3"]}, "one name"),
        (ValueError, {"algorithm": "nccl"}, "nccl"),
    ):
        on_one_rank(ranks, expected, call(**named), call(), word)
    in_step(ranks)


@check
def bool_tensors_among_others(ranks):
    def call():
        with dist._coalescing_manager(group=ranks.group):
            for tensor in (torch.tensor([True]), torch.tensor([1], dtype=torch.int32)):
                dist.all_reduce(tensor, group=ranks.group)

    everywhere(ranks, ValueError, call, "1 of 2 of bool")


@check
def arguments_of_hooks(ranks):
    model = torch.nn.Linear(2, 2)
    for expected, named in (
        (TypeError, {"wire": ["e4m3"]}),
        (TypeError, {"exempt": ["weight"]}),
        (ValueError, {"wire": "int4", "scaling": "delayed"}),
    ):
        assert isinstance(raised_by(lambda: ddp.HookState(model, **named)), expected), named  # noqa: B023
    for expected, named in (
        (TypeError, {"error_feedback": True}),
        (ValueError, {"wire": "e4m"}),
        (ValueError, {"algorithm": "ringg"}),
    ):
        assert isinstance(raised_by(lambda: fsdp.ReduceScatter(model, **named)), expected), named  # noqa: B023


@check
def many_mistakes_in_a_row(ranks):
    """Refusals neither pile up nor get lost."""
    for i in range(50):
        size = 9 + (ranks.rank if i % 2 else 0)
        try:
            ranks.all_reduce([torch.ones(size)], wire="e4m3" if i % 3 else "e4m99")
        except (ValueError, cpdcomm.MismatchError):
            assert i % 2 or i % 3 == 0
        else:
            assert i % 2 == 0 and i % 3
    ranks.still_sums()


if __name__ == "__main__":
    harness.main()
