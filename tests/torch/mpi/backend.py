"""torch.distributed over backend cpd: every operation, exact wherever it does not sum floats."""

import copy
import itertools
import threading
import time

import harness
import numpy as np
import torch
import torch.distributed as dist
from expected import Call, all_reduce
from harness import check
from inputs import noise, on_rank_0, tensors
from patterns import same_bits
from torch.distributed import ReduceOp

import cpdcomm

INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
GROUPS = [
    {},
    {"wire": "e4m3", "min_bytes": 0},
    {"wire": "e3m0", "algorithm": "ring", "accumulate": "kahan", "min_bytes": 0},
]


def groups():
    """Groups whose options must not matter to what is exact."""
    return [harness.new_group(**options) for options in GROUPS]


def small(rank, dtype):
    """Values whose sums and products every type of the test holds."""
    return ((torch.arange(130) * 7 + rank * 3) % 4).to(dtype)


def folded(ranks, dtype, combine):
    """What `combine` makes of all ranks' values, in rank order."""
    result = small(0, torch.int64)
    for rank in range(1, ranks.size):
        result = combine(result, small(rank, torch.int64))
    return result.to(dtype)


EXACT = {
    ReduceOp.SUM: torch.add,
    ReduceOp.PRODUCT: torch.mul,
    ReduceOp.MIN: torch.minimum,
    ReduceOp.MAX: torch.maximum,
}
BITWISE = {
    ReduceOp.BAND: torch.bitwise_and,
    ReduceOp.BOR: torch.bitwise_or,
    ReduceOp.BXOR: torch.bitwise_xor,
}


# --- all_reduce -----------------------------------------------------------------------------------


@check
def integers_are_exact(ranks):
    for group, dtype in itertools.product(groups(), INTEGERS):
        for op, combine in (EXACT | BITWISE).items():
            x = small(ranks.rank, dtype)
            dist.all_reduce(x, op=op, group=group)
            assert torch.equal(x, folded(ranks, dtype, combine)), f"{dtype} {op}"


@check
def large_integers_are_exact(ranks):
    """Beyond what a float holds; sums wrap as torch's do."""
    group = harness.new_group(wire="e4m3", min_bytes=0)
    for dtype in INTEGERS:
        info = torch.iinfo(dtype)
        values = torch.tensor(
            [info.max, info.max - 1, info.min, info.min + 1, info.max // 3], dtype=dtype
        )
        want = torch.zeros_like(values)
        for _ in range(ranks.size):
            want += values
        dist.all_reduce(values, group=group)
        assert torch.equal(values, want), f"{dtype}: {values} is not {want}"
    x = torch.tensor([2**62 + ranks.rank, -(2**62) - ranks.rank])
    dist.all_reduce(x, op=ReduceOp.MAX, group=group)
    assert x.tolist() == [2**62 + ranks.size - 1, -(2**62)]


@check
def bools(ranks):
    for group in groups():
        mine = (torch.arange(64) >> ranks.rank) % 2 == 1
        every = torch.stack([(torch.arange(64) >> rank) % 2 == 1 for rank in range(ranks.size)])
        for ops, want in [
            ((ReduceOp.SUM, ReduceOp.MAX, ReduceOp.BOR), every.any(0)),
            ((ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.BAND), every.all(0)),
            ((ReduceOp.BXOR,), every.sum(0) % 2 == 1),
        ]:
            for op in ops:
                x = mine.clone()
                dist.all_reduce(x, op=op, group=group)
                assert x.dtype == torch.bool and torch.equal(x, want), op
                assert x.view(torch.uint8).max() <= 1


@check
def floats_other_than_sums_are_exact(ranks):
    for group, dtype in itertools.product(groups(), FLOATS):
        for op, combine in EXACT.items():
            if op == ReduceOp.SUM and dtype != torch.float64:
                continue
            x = small(ranks.rank, dtype)
            dist.all_reduce(x, op=op, group=group)
            assert torch.equal(x, folded(ranks, dtype, combine)), f"{dtype} {op}"


@check
def float64_keeps_its_precision(ranks):
    for group in groups():
        mine = [
            torch.randn(1001, generator=torch.Generator().manual_seed(r)).double() / 3
            for r in range(9)
        ]
        x = mine[ranks.rank].clone()
        want = sum(mine[1 : ranks.size], start=mine[0])
        dist.all_reduce(x, group=group)
        assert (x - want).abs().max() < 1e-15
        ranks.agree([x.numpy()])
        y = mine[ranks.rank].clone()
        dist.all_reduce(y, op=ReduceOp.AVG, group=group)
        assert torch.equal(y, x / ranks.size)


@check
def minimum_and_maximum_of_nan(ranks):
    for dtype, op in itertools.product(FLOATS, (ReduceOp.MIN, ReduceOp.MAX)):
        x = torch.ones(7, dtype=dtype)
        if ranks.rank == ranks.size - 1:
            x[3] = torch.nan
        dist.all_reduce(x, op=op, group=ranks.group)
        assert torch.isnan(x).tolist() == [False] * 3 + [True] + [False] * 3


@check
def sums_follow_the_options_of_the_group(ranks):
    parts = noise(ranks, 3001)
    for call in [
        Call("e4m3", "aps", "wide", "direct"),
        Call("e4m3", "none", "rounded", "ring"),
        Call("e5m2", "aps:64", "kahan", "direct"),
        Call("bf16", "aps", "kahan", "ring"),
        Call("fp32", "aps", "wide", "ring"),
    ]:
        options = call.arguments()
        options.pop("op")
        group = harness.new_group(**options)
        for dtype, op in itertools.product(FLOATS[:1] + FLOATS[2:], ("sum", "avg")):
            mine = tensors(parts[ranks.rank][0])[0].to(dtype)
            wide = [[[torch.from_numpy(p[0][0]).to(dtype).float().numpy()]] for p in parts]
            dist.all_reduce(mine, op=ReduceOp.SUM if op == "sum" else ReduceOp.AVG, group=group)
            arguments = call.__dict__ | {"op": op}
            want = torch.from_numpy(all_reduce(wide, Call(**arguments))[0]).to(dtype)
            same_bits(mine.float().numpy(), want.float().numpy(), f"{arguments} {dtype}")


@check
def shapes_and_strides(ranks):
    for make in (
        lambda x: x.t(),
        lambda x: x[::2, 1::3],
        lambda x: x[2, 3],
        lambda x: x[:0],
        lambda x: x.requires_grad_(),
    ):
        for dtype in (torch.float32, torch.int64, torch.bfloat16):
            whole = torch.ones(6, 10, dtype=dtype)
            if dtype == torch.int64 and make(torch.ones(6, 10)).requires_grad:
                continue
            x = make(whole)
            dist.all_reduce(x, group=ranks.group)
            assert (x == ranks.size).all() and x.dtype == dtype


@check
def coalesced(ranks):
    xs = [torch.full((n,), ranks.rank + 1.0) for n in (5, 0, 7)]
    dist.all_reduce_coalesced(xs, group=ranks.group)
    total = ranks.size * (ranks.size + 1) / 2
    assert [x.tolist() for x in xs] == [[total] * 5, [], [total] * 7]
    before = cpdcomm.stats(ranks.group)
    assert before.calls == 1 and before.logical_bytes == 48


# --- asynchronous work ----------------------------------------------------------------------------


@check
def work_and_future(ranks):
    x = torch.ones(1000)
    work = dist.all_reduce(x, group=ranks.group, async_op=True)
    assert work.wait() is True
    assert work.is_completed()
    assert (x == ranks.size).all()
    assert work.result()[0].data_ptr() == x.data_ptr()

    y = torch.ones(1000)
    future = dist.all_reduce(y, group=ranks.group, async_op=True).get_future()
    doubled = future.then(lambda done: done.value()[0] * 2)
    assert (doubled.wait() == 2 * ranks.size).all()
    assert future.done() and future.value()[0].data_ptr() == y.data_ptr()


@check
def a_chain_of_futures(ranks):
    """A callback that starts the next operation, as communication hooks do."""
    x = torch.ones(100)

    nested = []

    def again(_):
        nested.append(dist.all_reduce(x, group=ranks.group, async_op=True))
        return x

    first = dist.all_reduce(x, group=ranks.group, async_op=True)
    first.get_future().then(again).wait()
    nested[0].wait()
    assert (x == ranks.size**2).all()


@check
def many_in_flight(ranks):
    """They run in the order of the calls, whoever is waited for first."""
    group = harness.new_group(wire="e4m3", min_bytes=0)
    xs = [torch.full((n * 97,), float(ranks.rank == 0)) for n in range(60)]
    works = []
    for i, x in enumerate(xs):
        if i % 3 == 0:
            works.append(dist.all_reduce(x, group=group, async_op=True))
        elif i % 3 == 1:
            works.append(dist.broadcast(x, src=0, group=group, async_op=True))
        else:
            works.append(dist.all_reduce(x, op=ReduceOp.MAX, group=group, async_op=True))
    for work in reversed(works):
        work.wait()
    assert all((x == 1).all() for x in xs)
    x = torch.ones(10)
    works = [dist.all_reduce(x, group=ranks.group, async_op=True) for _ in range(5)]
    works[-1].wait()
    assert all(work.is_completed() for work in works)
    assert (x == ranks.size**5).all()


@check
def two_groups_at_once(ranks):
    """Whatever the order in which ranks begin operations of different groups."""
    a, b = harness.new_group(), harness.new_group(wire="e4m3")
    for _ in range(20):
        x, y = torch.ones(20_000), torch.ones(20_000)
        order = [(x, a), (y, b)] if ranks.rank % 2 else [(y, b), (x, a)]
        works = [dist.all_reduce(t, group=g, async_op=True) for t, g in order]
        for work in works:
            work.wait()
        assert (x == ranks.size).all() and (y == ranks.size).all()


@check
def a_call_waits_for_what_is_in_flight(ranks):
    """cpdcomm.all_reduce after dist.all_reduce of the same tensor, in the order of the calls."""
    for _ in range(10):
        x = torch.ones(30_000)
        work = dist.all_reduce(x, group=ranks.group, async_op=True)
        ranks.all_reduce(x, wire="e4m3")
        assert work.is_completed()
        assert (x == ranks.size**2).all()


@check
def threads_with_a_group_each(ranks):
    made = [harness.new_group(wire=wire) for wire in ("e4m3", "bf16", "fp32")]
    failures = []

    def work(group):
        try:
            for _ in range(30):
                x = on_rank_0(ranks, 5000)
                cpdcomm.all_reduce(x, group=group)
                assert (x == 1).all()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(group,)) for group in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@check
def the_tensor_may_be_let_go(ranks):
    works = [
        dist.all_reduce(torch.ones(50_000), group=ranks.group, async_op=True) for _ in range(9)
    ]
    for work in works:
        work.wait()
        assert (work.result()[0] == ranks.size).all()


# --- broadcast, allgather, barrier ----------------------------------------------------------------


@check
def broadcast_from_every_root(ranks):
    for root, dtype in itertools.product(
        range(ranks.size), [*INTEGERS, *FLOATS, torch.bool, torch.complex64]
    ):
        for count in (0, 1, 9, 40_000):
            x = torch.full((count,), ranks.rank).to(dtype)
            dist.broadcast(x, src=root, group=ranks.group)
            assert torch.equal(x, torch.full((count,), root).to(dtype)), f"{root} {dtype} {count}"


@check
def broadcast_keeps_bits_and_strides(ranks):
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 2**32, 63, dtype=np.uint32))
    want = values.view(torch.float32)  # among them NaN of all kinds
    for root in range(ranks.size):
        x = want.clone() if ranks.rank == root else torch.zeros(63)
        group = harness.new_group(wire="e4m3")
        dist.broadcast(x, src=root, group=group)
        same_bits(x.numpy(), want.numpy())
        whole = torch.zeros(9, 14)
        if ranks.rank == root:
            whole[:, ::2] = 7
        dist.broadcast(whole[:, ::2].t(), src=root, group=group)
        assert (whole[:, ::2] == 7).all() and (whole[:, 1::2] == 0).all()


@check
def all_gather(ranks):
    for dtype in [*INTEGERS, *FLOATS, torch.bool]:
        for shape in ((0,), (1,), (3, 5), (200, 100), ()):
            places = [torch.zeros(shape, dtype=dtype) for _ in range(ranks.size)]
            dist.all_gather(places, torch.full(shape, ranks.rank).to(dtype), group=ranks.group)
            for rank, place in enumerate(places):
                assert torch.equal(place, torch.full(shape, rank).to(dtype)), f"{dtype} {shape}"


@check
def all_gather_of_strided_tensors(ranks):
    mine = (torch.arange(15.0).reshape(3, 5) + 100 * ranks.rank).t()
    places = [torch.zeros(3, 5).t() for _ in range(ranks.size)]
    dist.all_gather(places, mine, group=ranks.group)
    for rank, place in enumerate(places):
        assert torch.equal(place, (torch.arange(15.0).reshape(3, 5) + 100 * rank).t())


@check
def all_gather_into_one(ranks):
    gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
    for shape in ((ranks.size * 6,), (ranks.size, 6), (ranks.size * 2, 3)):
        out = torch.zeros(shape)
        gather(
            out,
            torch.full(
                (6,) if len(shape) < 2 else (shape[0] // ranks.size, shape[1]), float(ranks.rank)
            ),
            group=ranks.group,
        )
        assert out.reshape(ranks.size, 6).tolist() == [[float(r)] * 6 for r in range(ranks.size)]
    whole = torch.zeros(ranks.size * 12)
    work = gather(
        whole[::2], torch.full((12,), float(ranks.rank))[::2], group=ranks.group, async_op=True
    )
    work.wait()
    assert whole[::2].reshape(ranks.size, 6).tolist() == [[float(r)] * 6 for r in range(ranks.size)]
    assert (whole[1::2] == 0).all()


@check
def objects(ranks):
    thing = {"rank": ranks.rank, "text": "x" * (1000 * ranks.rank)}
    things = [None] * ranks.size
    dist.all_gather_object(things, thing, group=ranks.group)
    assert [t["rank"] for t in things] == list(range(ranks.size))
    assert [len(t["text"]) for t in things] == [1000 * r for r in range(ranks.size)]
    for root in range(ranks.size):
        box = [thing, root] if ranks.rank == root else [None, None]
        dist.broadcast_object_list(box, src=root, group=ranks.group)
        assert box[0]["rank"] == root and box[1] == root


@check
def barrier(ranks):
    """Nobody leaves before the last has come."""
    for last in range(ranks.size):
        if ranks.rank == last:
            time.sleep(0.2)
            ranks.store.set(f"came/{last}", "")
        dist.barrier(group=ranks.group)
        assert ranks.store.check([f"came/{last}"])


# --- groups ---------------------------------------------------------------------------------------


@check
def halves(ranks):
    """Groups of some ranks work side by side, with ranks of their own and options of their own."""
    middle = ranks.size // 2
    members = [list(range(middle)), list(range(middle, ranks.size))]
    wires = ["e4m3", "bf16"]
    made = [
        dist.new_group(m, pg_options=cpdcomm.Options(wire=w, min_bytes=0, timeout=20))
        for m, w in zip(members, wires, strict=True)
    ]
    mine = 0 if ranks.rank < middle else 1
    group, own = made[mine], members[mine]
    assert dist.get_backend(group) == "cpd"
    assert dist.get_rank(group) == own.index(ranks.rank)
    parts = noise(ranks, 500)
    for _ in range(10):
        x = tensors(parts[ranks.rank][0])[0]
        dist.all_reduce(x, group=group)
        want = all_reduce([parts[r] for r in own], Call(wires[mine], "aps", "wide", "direct"))[0]
        same_bits(x.numpy(), want)
    y = torch.tensor([ranks.rank])
    dist.broadcast(y, src=own[-1], group=group)
    assert y.item() == own[-1]
    ranks.still_sums()


@check
def every_other_rank_backwards(ranks):
    """The order of a group's ranks is the caller's list's, sorted by torch."""
    members = list(range(ranks.size))[::-2]
    group = dist.new_group(members, pg_options=cpdcomm.Options(timeout=20))
    if ranks.rank in members:
        x = torch.ones(9)
        report = cpdcomm.all_reduce(x, wire="e4m3", group=group)
        assert x.tolist() == [len(members)] * 9
        assert (report.wire_bytes == 0) == (len(members) == 1)
    ranks.still_sums()


@check
def a_group_of_one(ranks):
    """No peers: one cast, and no byte on the wire."""
    alone = [
        dist.new_group([r], pg_options=cpdcomm.Options(wire="e4m3", min_bytes=0))
        for r in range(ranks.size)
    ]
    group = alone[ranks.rank]
    x = torch.tensor([1.03, -300.0, 0.0])
    want = all_reduce([[[x.numpy().copy()]]], Call("e4m3", "aps"))[0]
    dist.all_reduce(x, group=group)
    same_bits(x.numpy(), want)
    assert cpdcomm.stats(group).wire_bytes == 0
    dist.barrier(group=group)
    dist.broadcast(x, src=ranks.rank, group=group)
    places = [torch.zeros(3)]
    dist.all_gather(places, x, group=group)
    same_bits(places[0].numpy(), want)


@check
def many_groups(ranks):
    """Made, used and let go."""
    for i in range(30):
        group = harness.new_group(wire="e4m3" if i % 2 else "fp32", min_bytes=0)
        x = torch.ones(100)
        dist.all_reduce(x, group=group)
        assert (x == ranks.size).all()
        dist.destroy_process_group(group)


@check
def options_may_be_copied(ranks):
    options = cpdcomm.Options(wire="e4m3", accumulate="kahan", min_bytes=0, timeout=20)
    twin = copy.deepcopy(options)
    assert twin == options
    group = dist.new_group(pg_options=twin)
    x = torch.ones(9)
    dist.all_reduce(x, group=group)
    assert x.tolist() == [ranks.size] * 9


@check
def the_call_wins_over_the_group(ranks):
    parts = noise(ranks, 700)
    group = harness.new_group(wire="e4m3", scaling="none", accumulate="rounded", algorithm="ring")

    def got(**arguments):
        x = tensors(parts[ranks.rank][0])
        report = cpdcomm.all_reduce(x, group=group, **arguments)
        return x[0].numpy(), report.algorithm

    explicit = {"accumulate": "kahan", "algorithm": "direct", "scaling": "aps", "op": "avg"}
    x, algorithm = got(wire="e5m2", **explicit)
    assert algorithm == "direct"
    same_bits(x, all_reduce(parts, Call("e5m2", "aps", "kahan", "direct", "avg"))[0])
    x, algorithm = got()
    assert algorithm == "ring"
    same_bits(x, all_reduce(parts, Call("e4m3", "none", "rounded", "ring"))[0])
    x, _ = got(wire=[None], scaling="none")
    same_bits(x, all_reduce(parts, Call("e4m3", "none", "rounded", "ring"))[0])
    x, _ = got(wire="fp32", algorithm="direct")
    same_bits(x, all_reduce(parts, Call("fp32", "none"))[0])


@check
def names(ranks):
    assert dist.get_backend(ranks.group) == "cpd"
    assert dist.get_backend() == "cpd"
    assert "cpd" in dist.Backend.backend_list
    assert dist.get_world_size(ranks.group) == ranks.size


if __name__ == "__main__":
    harness.main()
