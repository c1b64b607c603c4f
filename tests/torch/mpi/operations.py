"""torch.distributed's other operations over backend cpd: what moves tensors, and who asks for
compression."""

import datetime

import harness
import torch
import torch.distributed as dist
from harness import check

import cpdcomm

DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
]


def block(source, target, dtype=torch.float32, count=37):
    """What rank `source` has for rank `target`, not contiguous."""
    values = (torch.arange(2 * count) * 3 + 11 * source + 5 * target) % 100
    return values.reshape(count, 2).t().to(dtype)


def blocks(ranks, source, dtype=torch.float32):
    return [block(source, target, dtype) for target in range(ranks.size)]


def empties(ranks, dtype=torch.float32):
    return [torch.empty(37, 2, dtype=dtype).t() for _ in range(ranks.size)]


def same(found, wanted):
    assert len(found) == len(wanted)
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert torch.equal(a, b), f"{i}: {a} is not {b}"


# --- what moves -----------------------------------------------------------------------------------


@check
def gather_and_scatter(ranks):
    for dtype in DTYPES:
        for root in range(ranks.size):
            places = empties(ranks, dtype) if ranks.rank == root else None
            dist.gather(block(ranks.rank, root, dtype), places, dst=root, group=ranks.group)
            if ranks.rank == root:
                same(places, [block(source, root, dtype) for source in range(ranks.size)])
            mine = torch.empty(2, 37, dtype=dtype)
            parts = blocks(ranks, root, dtype) if ranks.rank == root else None
            dist.scatter(mine, parts, src=root, group=ranks.group)
            same([mine], [block(root, ranks.rank, dtype)])


@check
def all_to_all(ranks):
    for dtype in DTYPES:
        places = empties(ranks, dtype)
        dist.all_to_all(places, blocks(ranks, ranks.rank, dtype), group=ranks.group)
        same(places, [block(source, ranks.rank, dtype) for source in range(ranks.size)])


@check
def all_to_all_of_different_sizes(ranks):
    """Rank s sends s + 2 t rows to rank t; rank 0 nothing to itself."""

    def rows(source, target):
        return source + 2 * target

    sent = [torch.full((rows(ranks.rank, t), 3), 10.0 * ranks.rank + t) for t in range(ranks.size)]
    wanted = [
        torch.full((rows(s, ranks.rank), 3), 10.0 * s + ranks.rank) for s in range(ranks.size)
    ]
    places = [torch.empty_like(part) for part in wanted]
    dist.all_to_all(places, sent, group=ranks.group)
    same(places, wanted)
    flat = torch.empty(sum(part.shape[0] for part in wanted), 3)
    dist.all_to_all_single(
        flat,
        torch.cat(sent),
        output_split_sizes=[part.shape[0] for part in wanted],
        input_split_sizes=[part.shape[0] for part in sent],
        group=ranks.group,
    )
    same([flat], [torch.cat(wanted)])


@check
def all_to_all_single_in_equal_parts(ranks):
    mine = torch.arange(4 * ranks.size * 3).reshape(4 * ranks.size, 3) + 1000 * ranks.rank
    found = torch.empty_like(mine)
    dist.all_to_all_single(found, mine, group=ranks.group)
    rows = slice(4 * ranks.rank, 4 * ranks.rank + 4)
    like = torch.arange(4 * ranks.size * 3).reshape(4 * ranks.size, 3)[rows]
    same([found], [torch.cat([like + 1000 * source for source in range(ranks.size)])])


@check
def split_sizes_that_do_not_match(ranks):
    """Every rank learns that rank 0 sends rank 1 more than it expects."""
    rows = [2] * ranks.size
    sent = [2] * ranks.size
    if ranks.rank == 0:
        sent[1] = 3
    try:
        dist.all_to_all_single(torch.empty(sum(rows)), torch.ones(sum(sent)), rows, sent,
                               group=ranks.group)  # fmt: skip
    except cpdcomm.MismatchError as error:
        assert "rank 0 has 12 bytes for rank 1, which expects 8" in str(error), error
    else:
        raise AssertionError("nobody noticed")
    ranks.still_sums()


@check
def gathered_into_many_and_into_one(ranks):
    for dtype in DTYPES:
        mine = block(ranks.rank, 0, dtype)
        wanted = [block(source, 0, dtype) for source in range(ranks.size)]
        places = empties(ranks, dtype)
        dist.all_gather(places, mine, group=ranks.group)
        same(places, wanted)
        one = torch.empty(2 * ranks.size, 37, dtype=dtype)
        dist.all_gather_into_tensor(one, mine.contiguous(), group=ranks.group)
        same([one], [torch.cat(wanted)])


@check
def gathered_together(ranks):
    inputs = [torch.arange(5) + ranks.rank, torch.full((2, 2), float(ranks.rank))]
    outputs = [torch.empty(5 * ranks.size, dtype=torch.int64), torch.empty(2 * ranks.size, 2)]
    ranks.group.allgather_into_tensor_coalesced(outputs, inputs).wait()
    firsts = torch.cat([torch.arange(5) + r for r in range(ranks.size)])
    seconds = torch.cat([torch.full((2, 2), float(r)) for r in range(ranks.size)])
    same(outputs, [firsts, seconds])


@check
def objects(ranks):
    thing = {"rank": ranks.rank, "text": "x" * (1000 * ranks.rank)}
    found = [None] * ranks.size
    dist.all_gather_object(found, thing, group=ranks.group)
    assert [one["rank"] for one in found] == list(range(ranks.size))
    assert [len(one["text"]) for one in found] == [1000 * r for r in range(ranks.size)]
    told = [thing if ranks.rank == 1 else None]
    dist.broadcast_object_list(told, src=1, group=ranks.group)
    assert told[0]["rank"] == 1
    mine = [None]
    parts = [f"for {r}" for r in range(ranks.size)] if ranks.rank == 0 else None
    dist.scatter_object_list(mine, parts, src=0, group=ranks.group)
    assert mine == [f"for {ranks.rank}"]
    gathered = [None] * ranks.size if ranks.rank == 2 else None
    dist.gather_object(thing, gathered, dst=2, group=ranks.group)
    if ranks.rank == 2:
        assert [one["rank"] for one in gathered] == list(range(ranks.size))


# --- what reduces ---------------------------------------------------------------------------------


@check
def reduced_to_each_rank(ranks):
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8):
        for root in range(ranks.size):
            for op in (dist.ReduceOp.SUM, dist.ReduceOp.MAX, dist.ReduceOp.PRODUCT):
                x = (torch.arange(130).reshape(10, 13).t() % 3 + ranks.rank % 2).to(dtype)
                own = x.clone()
                dist.reduce(x, dst=root, op=op, group=ranks.group)
                if ranks.rank != root:
                    same([x], [own])
                    continue
                all_parts = torch.stack(
                    [(torch.arange(130).reshape(10, 13).t() % 3 + r % 2) for r in range(ranks.size)]
                )
                wanted = {
                    dist.ReduceOp.SUM: all_parts.sum(0),
                    dist.ReduceOp.MAX: all_parts.amax(0),
                    dist.ReduceOp.PRODUCT: all_parts.prod(0),
                }[op]
                same([x], [wanted.to(dtype)])


@check
def reduce_scattered(ranks):
    for dtype in (torch.float32, torch.float64, torch.float16, torch.int32, torch.int8):
        wanted = sum(block(source, ranks.rank, torch.int64) for source in range(ranks.size))
        mine = torch.empty(2, 37, dtype=dtype)
        dist.reduce_scatter(mine, blocks(ranks, ranks.rank, dtype), group=ranks.group)
        same([mine], [wanted.to(dtype)])
        flat = torch.stack(blocks(ranks, ranks.rank, dtype))
        one = torch.empty(1, 2, 37, dtype=dtype)
        dist.reduce_scatter_tensor(one, flat, group=ranks.group)
        same([one[0]], [wanted.to(dtype)])
    largest = torch.empty(2, 37, dtype=torch.int64)
    dist.reduce_scatter(largest, blocks(ranks, ranks.rank, torch.int64), op=dist.ReduceOp.MAX,
                        group=ranks.group)  # fmt: skip
    all_parts = torch.stack([block(s, ranks.rank, torch.int64) for s in range(ranks.size)])
    same([largest], [all_parts.amax(0)])


@check
def reduce_scattered_together(ranks):
    inputs = [torch.arange(3 * ranks.size), torch.ones(2 * ranks.size)]
    outputs = [torch.empty(3, dtype=torch.int64), torch.empty(2)]
    ranks.group.reduce_scatter_tensor_coalesced(outputs, inputs).wait()
    first = torch.arange(3 * ranks.rank, 3 * ranks.rank + 3) * ranks.size
    same(outputs, [first, torch.full((2,), float(ranks.size))])


@check
def sparse_tensors(ranks):
    """Ranks with other rows, and rank 0 with none."""
    rows = torch.tensor([list(range(ranks.rank))], dtype=torch.int64)
    values = torch.full((ranks.rank, 4), float(ranks.rank))
    x = torch.sparse_coo_tensor(rows, values, (10, 4))
    dist.all_reduce(x, group=ranks.group)
    wanted = torch.zeros(10, 4)
    for rank in range(ranks.size):
        wanted[:rank] += rank
    same([x.to_dense()], [wanted])


@check
def empty_and_zero_dimensional(ranks):
    none = torch.empty(0, 3)
    dist.all_reduce(none, group=ranks.group)
    dist.broadcast(none, src=0, group=ranks.group)
    dist.all_gather([torch.empty(0, 3) for _ in range(ranks.size)], none, group=ranks.group)
    dist.reduce(none, dst=0, group=ranks.group)
    point = torch.tensor(float(ranks.rank))
    dist.all_reduce(point, group=ranks.group)
    assert point.item() == sum(range(ranks.size))
    places = [torch.tensor(-1.0) for _ in range(ranks.size)]
    dist.all_gather(places, torch.tensor(float(ranks.rank)), group=ranks.group)
    assert [place.item() for place in places] == list(range(ranks.size))


def raised_by(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nobody noticed")


def complex_block(source, target, dtype=torch.complex64):
    """As block(), with an imaginary part of its own."""
    parts = torch.stack([block(source, target), block(target, source + 3)], dim=-1)
    return torch.view_as_complex(parts.contiguous()).to(dtype)


@check
def complex_numbers(ranks):
    """Sums and means of all kinds, of conjugates, too; never in a wire format."""
    group = harness.new_group(wire="e3m0", min_bytes=0, collectives="all_reduce,reduce_scatter")
    for dtype, op in [
        (torch.complex64, dist.ReduceOp.SUM),
        (torch.complex64, dist.ReduceOp.AVG),
        (torch.complex128, dist.ReduceOp.SUM),
    ]:
        every = [[complex_block(s, t, dtype).conj() for t in range(ranks.size)]
                 for s in range(ranks.size)]  # fmt: skip
        scale = ranks.size if op == dist.ReduceOp.AVG else 1
        wanted = [sum(every[s][t] for s in range(ranks.size)) / scale for t in range(ranks.size)]
        mine = every[ranks.rank]
        share = torch.empty(2, 37, dtype=dtype)
        dist.reduce_scatter(share, mine, op=op, group=group)
        assert torch.allclose(share, wanted[ranks.rank], rtol=1e-6)
        one = torch.empty(1, 2, 37, dtype=dtype)
        dist.reduce_scatter_tensor(one, torch.stack(mine).conj().resolve_conj().conj(), op=op,
                                   group=group)  # fmt: skip
        assert torch.allclose(one[0], wanted[ranks.rank], rtol=1e-6)
        x = mine[0].clone()
        dist.reduce(x, dst=1, op=op, group=group)
        assert torch.allclose(x, wanted[0] if ranks.rank == 1 else mine[0], rtol=1e-6)
        # As torch's traced operators ask; torch.distributed.all_reduce passes floats by itself.
        options = dist.AllreduceOptions()
        options.reduceOp = op
        x = mine[0].clone()
        group.allreduce([x], options).wait()
        assert torch.allclose(x, wanted[0], rtol=1e-6)
    for name, found in cpdcomm.stats(group).by_operation.items():
        assert found.compressed == 0, f"{name}: {found}"


@check
def complex_numbers_have_no_largest(ranks):
    for op in (dist.ReduceOp.MAX, dist.ReduceOp.PRODUCT):
        x = torch.ones(3, dtype=torch.complex64)
        error = raised_by(lambda x=x, op=op: dist.reduce(x, dst=0, op=op, group=ranks.group))
        assert "complex64 is reduced with SUM and AVG alone" in str(error), repr(error)
    ranks.still_sums()


def rows(source, target, dtype=torch.float32):
    """Of reduce-scatter, for rank `target`, which gets none where it is rank 1."""
    count = 0 if target == 1 else 3 * target + 2
    return ((torch.arange(4 * count) + 5 * source) % 9).reshape(4, count).t().to(dtype)


@check
def reduce_scattered_in_uneven_parts(ranks):
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.complex64):
        mine = torch.empty_like(rows(0, ranks.rank, dtype))
        parts = [rows(ranks.rank, target, dtype) for target in range(ranks.size)]
        dist.reduce_scatter(mine, parts, group=ranks.group)
        same([mine], [sum(rows(source, ranks.rank, dtype) for source in range(ranks.size))])
    group = harness.new_group(wire="e5m7", min_bytes=0, collectives="reduce_scatter")
    mine = torch.empty_like(rows(0, ranks.rank))
    dist.reduce_scatter(mine, [rows(ranks.rank, target) for target in range(ranks.size)],
                        op=dist.ReduceOp.AVG, group=group)  # fmt: skip
    wanted = sum(rows(source, ranks.rank) for source in range(ranks.size)) / ranks.size
    assert torch.allclose(mine, wanted, rtol=0.02)
    assert operation(group, "reduce_scatter").compressed == 1


@check
def uneven_parts_that_differ(ranks):
    """The longest is the same on all ranks, and so is what is padded."""
    counts = [5 + (rank == 0) for rank in range(ranks.size)]
    if ranks.rank == 0:
        counts[2] = 4
    parts = [torch.ones(count) for count in counts]
    place = torch.empty(counts[ranks.rank])
    error = raised_by(lambda: dist.reduce_scatter(place, parts, group=ranks.group))
    assert isinstance(error, cpdcomm.MismatchError), repr(error)
    assert "have other sizes than those of rank 0" in str(error), error
    error = raised_by(lambda: dist.reduce_scatter(torch.empty(7), parts, group=ranks.group))
    assert "output has 7 values, this rank's input" in str(error), error
    ranks.still_sums()


# --- whatever gloo takes --------------------------------------------------------------------------

OPS = ["SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR"]
ALL_DTYPES = [*DTYPES, torch.int8, torch.int16, torch.int32, torch.complex32, torch.complex128]


def values(dtype, count, seed):
    """Of which every type holds sums and products."""
    found = ((torch.arange(count) * 7 + 3 * seed) % 4 + 1).float()
    return torch.complex(found, 5 - found).to(dtype) if dtype.is_complex else found.to(dtype)


def reductions(ranks, group, dtype, op):
    """A function for each way to reduce; each returns the results of this rank."""
    own, everybody = ranks.rank, range(ranks.size)

    def asked(options):
        options.reduceOp = op
        return options

    def all_reduce():
        x = values(dtype, 6, own)
        dist.all_reduce(x, op=op, group=group)
        return [x]

    def all_reduce_as_it_is():
        x = values(dtype, 6, own)
        group.allreduce([x], asked(dist.AllreduceOptions())).wait()
        return [x]

    def all_reduce_coalesced():
        xs = [values(dtype, 6, own), values(dtype, 3, own + 1)]
        group.allreduce_coalesced(xs, asked(dist.AllreduceCoalescedOptions())).wait()
        return xs

    def reduce():
        x = values(dtype, 6, own)
        dist.reduce(x, dst=1, op=op, group=group)
        return [x] if own == 1 else []

    def reduce_scatter():
        x = torch.zeros(6, dtype=dtype)
        parts = [values(dtype, 6, own + target) for target in everybody]
        dist.reduce_scatter(x, parts, op=op, group=group)
        return [x]

    def reduce_scatter_uneven():
        x = torch.zeros(own + 1, dtype=dtype)
        parts = [values(dtype, target + 1, own + target) for target in everybody]
        dist.reduce_scatter(x, parts, op=op, group=group)
        return [x]

    def reduce_scatter_tensor():
        x = torch.zeros(6, dtype=dtype)
        dist.reduce_scatter_tensor(x, values(dtype, 6 * ranks.size, own), op=op, group=group)
        return [x]

    def reduce_scatter_coalesced():
        xs = [torch.zeros(6, dtype=dtype), torch.zeros(2, dtype=dtype)]
        parts = [values(dtype, len(x) * ranks.size, own) for x in xs]
        options = asked(dist.ReduceScatterOptions())
        group.reduce_scatter_tensor_coalesced(xs, parts, options).wait()
        return xs

    return [all_reduce, all_reduce_as_it_is, all_reduce_coalesced, reduce, reduce_scatter,
            reduce_scatter_uneven, reduce_scatter_tensor, reduce_scatter_coalesced]  # fmt: skip


def movements(ranks, group, dtype):
    """The same of what moves tensors."""
    own, everybody = ranks.rank, range(ranks.size)

    def places(count=6):
        return [torch.zeros(count, dtype=dtype) for _ in everybody]

    def broadcast():
        x = values(dtype, 6, own)
        dist.broadcast(x, src=1, group=group)
        return [x]

    def all_gather():
        xs = places()
        dist.all_gather(xs, values(dtype, 6, own), group=group)
        return xs

    def all_gather_into_tensor():
        x = torch.zeros(6 * ranks.size, dtype=dtype)
        dist.all_gather_into_tensor(x, values(dtype, 6, own), group=group)
        return [x]

    def gather():
        xs = places() if own == 1 else None
        dist.gather(values(dtype, 6, own), xs, dst=1, group=group)
        return xs or []

    def scatter():
        x = torch.zeros(6, dtype=dtype)
        parts = [values(dtype, 6, target) for target in everybody] if own == 1 else None
        dist.scatter(x, parts, src=1, group=group)
        return [x]

    def all_to_all_single():
        x = torch.zeros(2 * ranks.size, dtype=dtype)
        dist.all_to_all_single(x, values(dtype, 2 * ranks.size, own), group=group)
        return [x]

    def send_and_receive():
        x = torch.zeros(6, dtype=dtype)
        sent = dist.isend(values(dtype, 6, own), (own + 1) % ranks.size, group=group)
        dist.recv(x, (own - 1) % ranks.size, group=group)
        sent.wait()
        return [x]

    return [broadcast, all_gather, all_gather_into_tensor, gather, scatter, all_to_all_single,
            send_and_receive]  # fmt: skip


def comparable(x):
    """gloo's sums of bools are bytes such as 2 and 3; torch does not compare complex32."""
    if x.dtype == torch.bool:
        return x.view(torch.uint8) != 0
    return torch.view_as_real(x) if x.is_complex() else x


def same_or_next(a, b):
    """gloo divides complex sums as complex numbers: a mean may be off by its last bit."""
    a, b = comparable(a), comparable(b)
    eps = torch.finfo(a.dtype).eps if a.is_floating_point() else 0
    torch.testing.assert_close(a, b, rtol=2 * eps, atol=0)


def taken_as_by_gloo(ours, theirs, label):
    """Runs a function over gloo and over cpd; whether gloo takes it."""
    try:
        wanted = theirs()
    except (RuntimeError, ValueError, TypeError):
        return False
    try:
        for a, b in zip(ours(), wanted, strict=True):
            same_or_next(a, b)
    except Exception as error:
        raise AssertionError(f"{theirs.__name__} of {label}") from error
    return True


@check
def all_reductions_of_gloo(ranks):
    gloo = dist.new_group(backend="gloo")
    taken = []
    for dtype in ALL_DTYPES:
        for name in OPS:
            op = getattr(dist.ReduceOp, name)
            both = (reductions(ranks, group, dtype, op) for group in (ranks.group, gloo))
            taken += [
                taken_as_by_gloo(*pair, f"{dtype} {name}") for pair in zip(*both, strict=True)
            ]
    assert sum(taken) > len(taken) / 3, f"gloo took {sum(taken)} of {len(taken)}"


@check
def all_movements_of_gloo(ranks):
    gloo = dist.new_group(backend="gloo")
    taken = []
    for dtype in ALL_DTYPES:
        both = (movements(ranks, group, dtype) for group in (ranks.group, gloo))
        taken += [taken_as_by_gloo(*pair, dtype) for pair in zip(*both, strict=True)]
    assert sum(taken) > len(taken) / 2, f"gloo took {sum(taken)} of {len(taken)}"


# --- messages -------------------------------------------------------------------------------------


@check
def sent_round_the_ring(ranks):
    following, previous = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
    for dtype in DTYPES:
        mine, found = (
            block(ranks.rank, following, dtype, 3000),
            torch.empty(3000, 2, dtype=dtype).t(),
        )
        sent = dist.isend(mine, following, group=ranks.group, tag=3)
        dist.recv(found, previous, group=ranks.group, tag=3)
        sent.wait()
        same([found], [block(previous, ranks.rank, dtype, 3000)])


@check
def received_before_it_is_sent(ranks):
    """All ranks wait for all others at the same time, with tags the other way round."""
    others = [rank for rank in range(ranks.size) if rank != ranks.rank]
    found = {(rank, tag): torch.empty(2, 5000) for rank in others for tag in (1, 2)}
    works = [
        dist.irecv(found[rank, tag], rank, ranks.group, tag) for rank in others for tag in (2, 1)
    ]
    works += [
        dist.isend(block(ranks.rank, rank + tag, count=5000), rank, ranks.group, tag)
        for rank in others
        for tag in (1, 2)
    ]
    for work in works:
        work.wait()
    for (rank, tag), place in found.items():
        same([place], [block(rank, ranks.rank + tag, count=5000)])


@check
def received_from_anybody(ranks):
    if ranks.rank != 0:
        dist.send(torch.full((7,), float(ranks.rank)), 0, group=ranks.group)
        return
    sources = []
    for _ in range(1, ranks.size):
        place = torch.empty(7)
        sources.append(dist.recv(place, group=ranks.group))
        same([place], [torch.full((7,), float(sources[-1]))])
    assert sorted(sources) == list(range(1, ranks.size))


@check
def batches_of_messages(ranks):
    following, previous = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
    found = torch.empty(9)
    ops = [
        dist.P2POp(dist.isend, torch.full((9,), float(ranks.rank)), following, ranks.group),
        dist.P2POp(dist.irecv, found, previous, ranks.group),
    ]
    for work in dist.batch_isend_irecv(ops):
        work.wait()
    same([found], [torch.full((9,), float(previous))])


@check
def of_another_size(ranks):
    if ranks.rank == 0:
        dist.send(torch.ones(3), 1, group=ranks.group)
    elif ranks.rank == 1:
        try:
            dist.recv(torch.empty(4), 0, group=ranks.group)
        except cpdcomm.MismatchError as error:
            assert "rank 0 has sent 12 bytes; there is room for 16" in str(error), error
        else:
            raise AssertionError("nobody noticed")
    ranks.still_sums()


@check
def a_monitored_barrier(ranks):
    backend = ranks.group._get_backend(torch.device("cpu"))
    for _ in range(3):
        backend.monitored_barrier(datetime.timedelta(seconds=20), wait_all_ranks=True)
    ranks.still_sums()


# --- what is compressed ---------------------------------------------------------------------------


def operation(group, name):
    return cpdcomm.stats(group).by_operation.get(name)


@check
def nothing_is_compressed_unasked(ranks):
    x = torch.randn(1000)
    dist.all_reduce(x, group=ranks.group)
    dist.reduce_scatter_tensor(torch.empty(10), torch.randn(10 * ranks.size), group=ranks.group)
    dist.all_gather_into_tensor(torch.empty(10 * ranks.size), torch.randn(10), group=ranks.group)
    for name in ("all_reduce", "reduce_scatter", "all_gather"):
        found = operation(ranks.group, name)
        assert (found.calls, found.compressed) == (1, 0), f"{name}: {found}"
        assert found.wire_bytes > 0


@check
def small_tensors_stay_exact(ranks):
    group = harness.new_group(wire="e3m0", min_bytes=4000)
    small, large = torch.full((999,), 1.1), torch.full((1000,), 1.1)
    dist.all_reduce(small, group=group)
    dist.all_reduce(large, group=group)
    exact = torch.full((999,), 1.1)
    for _ in range(ranks.size - 1):
        exact += torch.full((999,), 1.1)
    same([small], [exact])
    assert not torch.equal(large[:999], exact)
    found = operation(group, "all_reduce")
    assert (found.calls, found.compressed) == (2, 1), found


@check
def counts_and_losses_stay_exact_unasked(ranks):
    """Whatever names the algorithm or the sum: less than 4 KiB of a call's own are not cast."""
    every = ["all_reduce", "reduce_scatter", "all_gather"]
    for options in (
        {"wire": "e4m3", "algorithm": "direct", "collectives": every},
        {"wire": "e4m3", "algorithm": "ring", "accumulate": "kahan", "collectives": every},
        {"wire": "e4m3", "algorithm": "hierarchical", "inner": "wire"},
        {"wire": "int8", "accumulate": "exact"},
        {"wire": "int8", "accumulate": "exact", "result": "wire"},
        {"wire": "sign", "accumulate": "majority"},
    ):
        group = harness.new_group(**options)
        count = torch.tensor(49386.0 if ranks.rank == 0 else 0.0)
        dist.all_reduce(count, group=group)
        assert count.item() == 49386.0, f"{options}: {count}"
        small = torch.full((1023,), 0.3086) * (ranks.rank == 0)
        dist.all_reduce(small, group=group)
        same([small], [torch.full((1023,), 0.3086)])
        share, of_all = torch.empty(()), torch.empty(ranks.size)
        dist.reduce_scatter_tensor(share, torch.full((ranks.size,), 49386.0), group=group)
        assert share.item() == ranks.size * 49386.0, f"{options}: {share}"
        dist.all_gather_into_tensor(of_all, torch.tensor([0.3086]), group=group)
        same([of_all], [torch.full((ranks.size,), 0.3086)])
        for name, found in cpdcomm.stats(group).by_operation.items():
            assert found.compressed == 0, f"{options} {name}: {found}"
        large = torch.full((1024,), 0.3086)
        dist.all_reduce(large, group=group)
        assert operation(group, "all_reduce").compressed == ("all_reduce" in options.get(
            "collectives", ["all_reduce"]))  # fmt: skip


@check
def a_share_counts_on_any_number_of_ranks(ranks):
    """All together have more than 4 KiB, each less."""
    group = harness.new_group(wire="e3m0", collectives=["reduce_scatter", "all_gather"])
    for count, compressed in ((1000, 0), (1024, 1)):
        share, every = torch.empty(count), torch.empty(count * ranks.size)
        dist.reduce_scatter_tensor(share, torch.full((count * ranks.size,), 1.1), group=group)
        dist.all_gather_into_tensor(every, torch.full((count,), 1.1), group=group)
        for name in ("reduce_scatter", "all_gather"):
            assert operation(group, name).compressed == compressed, name
        assert torch.equal(every, torch.full_like(every, 1.1)) == (compressed == 0)


@check
def a_count_among_gradients(ranks):
    """One call of many tensors: what is small or complex stays exact beside what is not."""
    for options in (
        {"wire": "e3m0", "algorithm": "direct"},
        {"wire": "sign", "accumulate": "majority"},
        {"wire": "e3m0", "rounding": "stochastic"},
    ):
        group = harness.new_group(**options)
        gradient, count = torch.full((2000,), 1.1), torch.tensor([49386.0])
        number = torch.arange(3000) + ranks.rank
        wave = torch.full((1000,), complex(1.1, 0.3)).to(torch.complex64)
        exact = wave * ranks.size
        group.allreduce_coalesced([count, gradient, wave, number]).wait()
        assert count.item() == 49386.0 * ranks.size, f"{options}: {count}"
        same([number], [torch.arange(3000) * ranks.size + sum(range(ranks.size))])
        assert torch.allclose(wave, exact, rtol=1e-6), f"{options}: {wave}"
        found = operation(group, "all_reduce")
        assert (found.calls, found.compressed) == (1, 1), f"{options}: {found}"
        ranks.agree([gradient.numpy()])


@check
def who_asks_by_name_compresses_what_is_small(ranks):
    x = torch.tensor([49386.0]) * (ranks.rank == 0)
    cpdcomm.all_reduce(x, wire="e4m3", algorithm="direct", group=ranks.group)
    assert x.item() == 49152.0


@check
def integers_and_other_operators_stay_exact(ranks):
    group = harness.new_group(wire="e3m0", min_bytes=0)
    dist.all_reduce(torch.arange(1000), group=group)
    largest = torch.full((1000,), 1.1 + ranks.rank)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    same([largest], [torch.full((1000,), 1.1 + ranks.size - 1)])
    assert operation(group, "all_reduce").compressed == 0


@check
def halves_are_compressed_on_request(ranks):
    torch.manual_seed(ranks.rank)
    parts = torch.randn(1000 * ranks.size)
    plain = harness.new_group(wire="e4m3", min_bytes=0)
    halves = ["reduce_scatter", "all_gather"]
    low = harness.new_group(wire="e4m3", min_bytes=0, collectives=halves)
    exact, rounded = torch.empty(1000), torch.empty(1000)
    dist.reduce_scatter_tensor(exact, parts, group=plain)
    dist.reduce_scatter_tensor(rounded, parts, group=low)
    assert operation(plain, "reduce_scatter").compressed == 0
    found = operation(low, "reduce_scatter")
    assert found.compressed == 1
    assert found.wire_bytes < 0.3 * operation(plain, "reduce_scatter").wire_bytes
    assert 0 < (exact - rounded).abs().max() < 0.5
    by_name = torch.empty(1000)
    cpdcomm.reduce_scatter(by_name, parts, wire="e4m3", group=plain)
    same([rounded], [by_name])
    every = torch.empty(1000 * ranks.size)
    dist.all_gather_into_tensor(every, exact, group=low)
    ranks.agree([every.numpy()])
    own = every.view(ranks.size, 1000)[ranks.rank]
    assert 0 < (own - exact).abs().max() < 0.5
    x = torch.randn(1000)
    dist.all_reduce(x, group=low)
    assert operation(low, "all_reduce").compressed == 0


@check
def a_context_wins_over_the_group(ranks):
    group = harness.new_group()
    x = torch.full((1000,), 1.1)
    with cpdcomm.options(wire="e3m0", algorithm="direct", min_bytes=0):
        dist.all_reduce(x, group=group)
        with cpdcomm.options(wire="fp32"):
            dist.all_reduce(torch.ones(1000), group=group)
    dist.all_reduce(torch.ones(1000), group=group)
    found = operation(group, "all_reduce")
    assert (found.calls, found.compressed) == (3, 1), found
    y = torch.full((1000,), 1.1)
    cpdcomm.all_reduce(y, wire="e3m0", algorithm="direct", group=group)
    same([x], [y])
    with cpdcomm.options(wire="e5m2"):
        z = torch.full((1000,), 1.1)
        cpdcomm.all_reduce(z, wire="e3m0", algorithm="direct", group=group)
    same([z], [y])


@check
def calls_that_are_started(ranks):
    xs = [torch.full((10_000,), float(i + ranks.rank)) for i in range(5)]
    pending = [cpdcomm.all_reduce(x, group=ranks.group, async_op=True) for x in xs]
    reports = [one.wait() for one in pending]
    assert all(one.done() for one in pending)
    assert [report.logical_bytes for report in reports] == [40_000] * 5
    for i, x in enumerate(xs):
        same([x], [torch.full((10_000,), float(ranks.size * i + sum(range(ranks.size))))])
    future = cpdcomm.all_reduce(xs[0], group=ranks.group, async_op=True).work.get_future()
    assert future.wait()[0] is not None


@check
def sequence_numbers(ranks):
    backend = ranks.group._get_backend(torch.device("cpu"))
    before = backend._get_sequence_number_for_group()
    dist.all_reduce(torch.ones(1), group=ranks.group)
    dist.barrier(group=ranks.group)
    assert backend._get_sequence_number_for_group() == before + 2


@check
def a_profiler_sees_operations(ranks):
    with torch.profiler.profile() as profiler:
        dist.all_reduce(torch.ones(1000), group=ranks.group)
        dist.broadcast(torch.ones(10), src=0, group=ranks.group)
    names = {event.name for event in profiler.events()}
    assert {"cpd:all_reduce", "cpd:broadcast"} <= names, sorted(names)


@check
def halves_of_the_ranks(ranks):
    """new_group in both halves, at the same time."""
    half = [r for r in range(ranks.size) if r % 2 == ranks.rank % 2]
    groups = [dist.new_group([r for r in range(ranks.size) if r % 2 == odd], backend="cpd")
              for odd in (0, 1)]  # fmt: skip
    x = torch.tensor([float(ranks.rank)])
    dist.all_reduce(x, group=groups[ranks.rank % 2])
    assert x.item() == sum(half)


@check
def in_inference_mode(ranks):
    """What was made there may only be written there, and operations have a thread of their own."""
    with torch.inference_mode():
        mine = torch.full((4, 3), float(ranks.rank)).t()
        dist.all_reduce(mine, group=ranks.group)
        same([mine], [torch.full((3, 4), float(sum(range(ranks.size))))])
        own = torch.full((3,), float(ranks.rank))
        every = torch.empty(3 * ranks.size)
        dist.all_gather_into_tensor(every, own, group=ranks.group)
        places = [torch.empty(3) for _ in range(ranks.size)]
        dist.all_gather(places, own, group=ranks.group)
        same(places, [torch.full((3,), float(rank)) for rank in range(ranks.size)])
        swapped = torch.empty(ranks.size)
        dist.all_to_all_single(
            swapped, torch.full((ranks.size,), float(ranks.rank)), group=ranks.group
        )
        same([swapped], [torch.arange(float(ranks.size))])
        share = torch.empty(3)
        dist.reduce_scatter_tensor(share, every, group=ranks.group)
        same([share], [torch.full((3,), float(ranks.rank * ranks.size))])
        copied = torch.full((4, 3), float(ranks.rank)).t()
        dist.broadcast(copied, src=1, group=ranks.group)
        same([copied], [torch.ones(3, 4)])
        found = [None] * ranks.size
        dist.all_gather_object(found, {"rank": ranks.rank}, group=ranks.group)
        assert found == [{"rank": rank} for rank in range(ranks.size)]
        following, previous = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
        sent = dist.isend(own, following, group=ranks.group)
        received = torch.empty(3, 2).t()[0]
        dist.recv(received, previous, group=ranks.group)
        sent.wait()
        same([received], [torch.full((3,), float(previous))])


@check
def a_callback_that_waits_for_another_operation(ranks):
    """torch's PowerSGD does so."""

    def again(ended):
        x = ended.value()[0]
        return dist.all_reduce(x, group=ranks.group, async_op=True).get_future().wait()[0]

    works = []
    for i in range(3):
        work = dist.all_reduce(torch.full((5,), float(i)), group=ranks.group, async_op=True)
        works.append(work.get_future().then(again))
    for i, work in enumerate(works):
        same([work.wait()], [torch.full((5,), float(i * ranks.size**2))])


@check
def a_future_is_done_when_its_work_is(ranks):
    for _ in range(50):
        work = dist.all_reduce(torch.ones(3), group=ranks.group, async_op=True)
        future = work.get_future()
        work.wait()
        assert future.done()


@check
def stochastic_gathers_draw_anew(ranks):
    group = harness.new_group(
        wire="e3m0", rounding="stochastic", min_bytes=0, collectives=["all_gather"]
    )
    found = []
    for _ in range(2):
        every = torch.empty(1000 * ranks.size)
        dist.all_gather_into_tensor(every, torch.full((1000,), 1.1), group=group)
        ranks.agree([every.numpy()])
        found.append(every)
    assert not torch.equal(*found)
    assert all(1.0 < one.mean() < 1.2 for one in found), [one.mean() for one in found]


@check
def sparse_tensors_of_other_shapes(ranks):
    rows = 20 if ranks.rank == 1 else 10
    x = torch.sparse_coo_tensor([[3]], torch.ones(1, 4), (rows, 4))
    try:
        dist.all_reduce(x, group=ranks.group)
    except RuntimeError as error:  # torch's, where it looks itself
        assert "shape" in str(error) and "ismatch" in repr(error), repr(error)
    else:
        raise AssertionError("nobody noticed")
    ranks.still_sums()


@check
def a_group_that_is_split(ranks):
    """dist.split_group() itself wants an accelerator."""
    members = list(range(1, ranks.size))
    part = ranks.group.split_group(members, group_name="all but the first")
    assert (part is None) == (ranks.rank == 0)
    if part is not None:
        x = torch.tensor([float(ranks.rank)])
        part.allreduce([x]).wait()
        assert x.item() == sum(members)
        part.shutdown()
    ranks.still_sums()


if __name__ == "__main__":
    harness.main()
