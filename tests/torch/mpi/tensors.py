"""What cpdcomm.all_reduce takes, and what becomes of zeros, subnormals, Inf and NaN."""

import itertools
import resource
from pathlib import Path

import harness
import numpy as np
import torch
from expected import Call, all_reduce
from harness import check
from inputs import ACCUMULATES, ALGORITHMS, WAYS, noise, on_rank_0, tensors
from patterns import bits_of, floats, same_bits

import cpdcomm

HALVES = [torch.bfloat16, torch.float16]
WIRES = ["e4m3", "e5m2", "e3m0", "e8m7", "fp32"]
NAN = 0x7FC00000


def like_contiguous(ranks, make, **arguments):
    """What `make` builds of a contiguous tensor is summed as that is, in place."""
    values = torch.from_numpy(noise(ranks, 240)[ranks.rank][0][0]).reshape(4, 6, 10)
    x = make(values.clone())
    want = x.detach().clone(memory_format=torch.contiguous_format)
    assert want.is_contiguous()
    place = x.data_ptr()
    report = ranks.all_reduce([x], **arguments)
    ranks.all_reduce([want], **arguments)
    assert x.data_ptr() == place and len(report.non_finite) == 1
    same_bits(x.detach().numpy(), want.numpy())
    ranks.agree([x.detach().numpy()])


# --- shapes, strides and kinds --------------------------------------------------------------------


@check
def strides(ranks):
    for make in (
        lambda x: x.transpose(0, 2),
        lambda x: x[::2, 1::3, ::3],
        lambda x: x.reshape(-1)[3:],
        lambda x: x[1],
        lambda x: x.reshape(2, 3, 5, 8).to(memory_format=torch.channels_last),
    ):
        for wire in ("e4m3", "fp32"):
            like_contiguous(ranks, make, wire=wire)


@check
def scalars_and_empty_tensors(ranks):
    for make in (lambda x: x[1, 2, 3], lambda x: x[:0], lambda x: x[:, :, :0]):
        for wire in ("e4m3", "fp32"):
            like_contiguous(ranks, make, wire=wire)


@check
def what_lies_around_a_view_is_untouched(ranks):
    x = torch.full((6, 7), -5.0)
    x[1:4, 2:5] = ranks.rank + 1.0
    ranks.all_reduce([x[1:4, 2:5]], wire="e4m3")
    assert torch.equal(x[1:4, 2:5], torch.full((3, 3), ranks.size * (ranks.size + 1) / 2))
    x[1:4, 2:5] = -5
    assert torch.equal(x, torch.full((6, 7), -5.0))


@check
def no_tensors(ranks):
    report = ranks.all_reduce([])
    assert report.logical_bytes == 0 and list(report.non_finite) == []
    report = ranks.all_reduce([], wire="e4m3", accumulate="kahan", algorithm="ring", op="avg")
    assert report.logical_bytes == 0 and list(report.non_finite) == []
    assert list(ranks.all_reduce(()).non_finite) == []
    assert list(ranks.all_reduce([torch.empty(0)] * 3, wire="e4m3").non_finite) == [False] * 3


@check
def one_tensor_without_a_list(ranks):
    x = torch.ones(2, 3)
    report = ranks.all_reduce(x, "e4m3")
    assert torch.equal(x, torch.full((2, 3), float(ranks.size)))
    assert len(report.non_finite) == 1


@check
def tensors_that_require_grad(ranks):
    for wire in ("e4m3", "fp32"):
        leaf = torch.ones(5, requires_grad=True)
        parameter = torch.nn.Parameter(torch.ones(3, 2).t())
        computed = leaf * 2
        ranks.all_reduce([leaf, parameter, computed], wire=wire)
        assert leaf.requires_grad and leaf.is_leaf and leaf.grad is None
        assert leaf.tolist() == [ranks.size] * 5 and computed.tolist() == [2 * ranks.size] * 5
        assert parameter.tolist() == [[ranks.size] * 3] * 2


@check
def a_tensor_that_overlaps_itself(ranks):
    """Its values cannot be told apart: refused on every rank."""
    try:
        ranks.all_reduce([torch.ones(1).expand(4)], wire="e4m3")
    except (ValueError, RuntimeError) as error:
        assert "expand" in str(error) or "single memory location" in str(error), error
    else:
        raise AssertionError("it was summed")
    ranks.still_sums()


@check
def half_types_are_rounded_once(ranks):
    for dtype, wire, way in itertools.product(HALVES, ["e4m3", "e5m9", "fp32"], WAYS):
        parts = noise(ranks, 1001, 30)
        halves = [[torch.from_numpy(g).to(dtype) for g in part[0]] for part in parts]
        wide = [[[h.float().numpy() for h in half]] for half in halves]
        call = Call(wire, "aps", *way, "avg")
        got = halves[ranks.rank]
        ranks.all_reduce(got, **call.arguments())
        for g, want in zip(got, all_reduce(wide, call), strict=True):
            assert g.dtype == dtype
            assert torch.equal(
                g.view(torch.int16), torch.from_numpy(want).to(dtype).view(torch.int16)
            )


@check
def types_may_be_mixed(ranks):
    values = noise(ranks, 50)[ranks.rank][0][0]
    together = [torch.from_numpy(values.copy()).to(t) for t in (torch.float32, *HALVES)]
    alone = [t.clone() for t in together]
    ranks.all_reduce(together, wire="e4m3", accumulate="rounded", algorithm="direct")
    for a, b in zip(together, alone, strict=True):
        ranks.all_reduce([b], wire="e4m3", accumulate="rounded", algorithm="direct")
        assert a.dtype == b.dtype and torch.equal(a, b)


@check
def a_half_type_that_overflows(ranks):
    x = torch.full((3,), 60000.0, dtype=torch.float16)
    y = torch.ones(3, dtype=torch.float16)
    report = ranks.all_reduce([x, y])
    assert x.tolist() == [float("inf")] * 3
    assert list(report.non_finite) == [True, False]


# --- flat buffers ---------------------------------------------------------------------------------


@check
def boundaries_are_separate_tensors(ranks):
    counts = [54, 0, 9, 486, 1, 0, 3000]
    ends = [int(e) for e in np.cumsum(counts)]
    arrays = [a * np.float32(10.0**-i) for i, a in enumerate(noise(ranks, *counts)[ranks.rank][0])]
    wires = ["fp32" if i == 2 else "e4m3" for i in range(len(counts))]
    for wire, way in itertools.product(["e4m3", wires, "fp32"], WAYS):
        arguments = {"wire": wire, "accumulate": way[0], "algorithm": way[1]}
        apart = tensors(arrays)
        flat = torch.from_numpy(np.concatenate(arrays))
        place = flat.data_ptr()
        one = ranks.all_reduce(flat, boundaries=ends, **arguments)
        many = ranks.all_reduce(apart, **arguments)
        assert flat.data_ptr() == place
        same_bits(flat.numpy(), np.concatenate([t.numpy() for t in apart]))
        assert one.wire_bytes == many.wire_bytes and one.logical_bytes == many.logical_bytes
        assert list(one.non_finite) == list(many.non_finite) == [False] * len(counts)


@check
def a_flat_buffer_is_not_copied(ranks):
    flat = torch.ones(8 << 20)  # 32 MiB
    warm = torch.ones(1 << 20)
    ranks.all_reduce(warm, wire="e4m3", boundaries=[1000, 1 << 20])
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ranks.all_reduce(flat, wire="e4m3", boundaries=[1000, 4 << 20, 8 << 20])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 << 10, f"{grown} KiB more"
    assert flat[0] == flat[-1] == ranks.size


@check
def a_list_with_one_flat_buffer(ranks):
    for flat in ([torch.ones(10)], (torch.ones(10),)):
        assert len(ranks.all_reduce(flat, wire="e4m3", boundaries=[4, 10]).non_finite) == 2
        assert flat[0].tolist() == [ranks.size] * 10
    assert list(ranks.all_reduce(torch.ones(0), boundaries=[]).non_finite) == []
    strided = torch.ones(20)[::2]
    ranks.all_reduce(strided, wire="e4m3", boundaries=(3, 10))
    assert strided.tolist() == [ranks.size] * 10


# --- zeros and subnormals -------------------------------------------------------------------------


@check
def zero_tensors_stay_zero(ranks):
    for wire, scaling, way in itertools.product(WIRES, ["aps", "none", "aps:8"], WAYS):
        zero, other = torch.zeros(37), torch.ones(5)
        ranks.all_reduce(
            [zero, other], wire=wire, scaling=scaling, accumulate=way[0], algorithm=way[1]
        )
        same_bits(zero.numpy(), np.zeros(37, np.float32), f"{wire} {scaling} {way}")
        minus = -torch.zeros(9)  # sums start from +0
        ranks.all_reduce(minus, wire=wire, scaling=scaling, accumulate=way[0], algorithm=way[1])
        same_bits(minus.numpy(), np.zeros(9, np.float32), f"-0 {wire} {scaling} {way}")


@check
def a_tensor_that_is_zero_on_all_ranks_but_one(ranks):
    for way in WAYS:
        x = torch.zeros(9)
        if ranks.rank == ranks.size - 1:
            x[3] = -1e-30
        ranks.all_reduce(x, wire="e3m0", accumulate=way[0], algorithm=way[1])
        assert (x[:3] == 0).all() and (x[4:] == 0).all()
        assert -2e-30 < x[3] < -0.5e-30


@check
def subnormals_survive(ranks):
    """Also where the caller flushes his own."""
    tiny = floats(np.array([1, 2, 0x400000, 0x7FFFFF, 0x80000001, 0x807FFFFF] * 3, np.uint32))
    parts = [[[np.roll(tiny, rank)]] for rank in range(ranks.size)]
    grid = itertools.product(
        ["fp32", "bf16", "e4m3", "e8m22"], ["aps", "none"], ACCUMULATES, ALGORITHMS
    )
    calls = [Call(*values) for values in grid]
    want = [all_reduce(parts, call)[0] for call in calls]
    assert all(
        w.any()
        for call, w in zip(calls, want, strict=True)
        if call.wire != "e4m3" or call.scaling == "aps"
    )
    for flushing in (False, True):
        for call, w in zip(calls, want, strict=True):
            got = tensors(parts[ranks.rank][0])
            if flushing:
                torch.set_flush_denormal(True)
            try:
                ranks.all_reduce(got, **call.arguments())
            finally:
                torch.set_flush_denormal(False)
            same_bits(got[0].numpy(), w, f"{call} {flushing}")


@check
def values_as_large_as_fp32_goes(ranks):
    top = np.finfo(np.float32).max
    for way in WAYS:
        parts = [[[np.array([top, -top / 4, 1.0], np.float32)]] for _ in range(ranks.size)]
        for wire in ("e4m3", "e5m2", "fp32", "e2m1"):
            for op in ("sum", "avg"):
                call = Call(wire, "aps", *way, op)
                got = tensors(parts[ranks.rank][0])
                ranks.all_reduce(got, **call.arguments())
                same_bits(got[0].numpy(), all_reduce(parts, call)[0], f"{call}")


# --- Inf and NaN ----------------------------------------------------------------------------------


@check
def non_finite_values_reach_every_rank(ranks):
    grid = itertools.product(WIRES, ["aps", "none", "aps:8"], WAYS, [np.inf, -np.inf, np.nan])
    for i, (wire, scaling, way, bad) in enumerate(grid):
        x, y = torch.ones(33), on_rank_0(ranks, 17)
        if ranks.rank == i % ranks.size:
            x[20] = bad
        report = ranks.all_reduce(
            [y, x], wire=wire, scaling=scaling, accumulate=way[0], algorithm=way[1]
        )
        what = f"{wire} {scaling} {way} {bad}"
        assert list(report.non_finite) == [False, True], what
        assert y.tolist() == [1.0] * 17, what
        broken = torch.nonzero(~torch.isfinite(x)).flatten().tolist()
        if wire == "fp32" or scaling == "none":
            assert broken == [20], what
        else:
            assert broken == list(range(33) if scaling == "aps" else range(16, 24)), what
            assert (bits_of(x.numpy())[broken] == NAN).all(), what
        ranks.agree([x.numpy(), y.numpy()])


@check
def infinities_that_meet(ranks):
    for wire, way in itertools.product(WIRES, WAYS):
        x = torch.ones(9)
        x[4] = np.inf if ranks.rank == 0 else -np.inf
        report = ranks.all_reduce(x, wire=wire, scaling="none", accumulate=way[0], algorithm=way[1])
        assert list(report.non_finite) == [True]
        assert not torch.isfinite(x[4])
        if wire != "e3m0":  # which has no NaN
            assert bits_of(x.numpy())[4] == NAN
        ranks.agree([x.numpy()])


@check
def an_overflow_is_reported(ranks):
    for way in WAYS:
        arguments = {"wire": "e4m3", "accumulate": way[0], "algorithm": way[1]}
        x, y = torch.full((9,), 200.0), torch.ones(2)
        report = ranks.all_reduce([x, y], scaling="none", **arguments)
        assert list(report.non_finite) == [True, False]
        assert not torch.isfinite(x).any() and y.tolist() == [ranks.size] * 2
        x = torch.full((9,), 200.0)
        assert list(ranks.all_reduce([x], **arguments).non_finite) == [False]
        assert (x - 200.0 * ranks.size).abs().max() < 0.07 * 200 * ranks.size


# --- the report -----------------------------------------------------------------------------------


def bound(ranks, count, bits):
    return 2 * (ranks.size - 1) / ranks.size * count * bits / 8


@check
def wire_bytes(ranks):
    """What each rank sends, within 2 percent of the bound; a pair that travels is two values."""
    count = 1 << 20
    for wire, bits in [("e4m3", 8), ("e3m0", 4), ("e2m3", 6), ("bf16", 16), ("fp32", 32)]:
        for accumulate, algorithm in WAYS:
            if wire not in ("e4m3", "fp32") and accumulate == "rounded":
                continue
            x = on_rank_0(ranks, count)
            report = ranks.all_reduce(x, wire=wire, accumulate=accumulate, algorithm=algorithm)
            want = bound(ranks, count, bits)
            if (accumulate, algorithm) == ("kahan", "ring"):
                want *= 1.5
            what = f"{wire} {accumulate} {algorithm}: {report.wire_bytes} of {want}"
            assert want <= report.wire_bytes <= 1.02 * want, what
            assert report.logical_bytes == 4 * count and report.algorithm == algorithm
            assert (x == 1).all(), what


@check
def wire_bytes_of_exponents(ranks):
    """aps:N tells each peer 16 bits more for each N values; other tensors of the call their own."""
    count = 1 << 18
    exponents = (ranks.size - 1) * count // 64 * 2  # bytes, in one hop
    for algorithm in ALGORITHMS:
        sent = {}
        for scaling in ("none", "aps:64"):
            x = torch.ones(count, dtype=torch.bfloat16)
            report = ranks.all_reduce(x, wire="e4m3", scaling=scaling, algorithm=algorithm)
            sent[scaling] = report.wire_bytes
            assert report.logical_bytes == 4 * count
        more = sent["aps:64"] - sent["none"]
        assert 0 < more - exponents < 4000, more
        report = ranks.all_reduce(
            [torch.ones(count), torch.ones(count)], wire=["fp32", "e3m0"], algorithm=algorithm
        )
        assert 1 < report.wire_bytes / bound(ranks, count, 36) < 1.02


@check
def report_and_stats(ranks):
    before = cpdcomm.stats(ranks.group)
    assert (before.calls, before.wire_bytes, before.logical_bytes) == (0, 0, 0)
    x = [torch.ones(50_000), torch.ones(3, dtype=torch.float16)]
    report = ranks.all_reduce(x, wire="e4m3")
    assert isinstance(report, cpdcomm.Report)
    assert isinstance(report.wire_bytes, int) and report.logical_bytes == 4 * 50_003
    assert all(type(flag) is bool for flag in report.non_finite)
    assert 0 < report.codec_seconds < 60 and 0 <= report.wait_seconds < 60
    assert "wire_bytes" in repr(report)
    again = ranks.all_reduce(x, wire="e4m3")
    after = cpdcomm.stats(ranks.group)
    assert after.calls == 2
    assert after.wire_bytes == report.wire_bytes + again.wire_bytes
    assert after.logical_bytes == report.logical_bytes + again.logical_bytes
    assert before.calls == 0, "a copy, not a live view"
    torch.distributed.all_reduce(torch.ones(1000), group=ranks.group)
    assert cpdcomm.stats(ranks.group).calls == 3


if __name__ == "__main__":
    harness.main()
