"""Every kind of format by its name in cpdcomm.all_reduce."""

import itertools

import harness
import numpy as np
import torch
from harness import check
from inputs import ALGORITHMS, noise, tensors
from patterns import bits_of, same_bits
from reference_formats import parse

import cpdcomm

FN = {"e4m3fn": 8, "e3m2fn": 4, "e2m3fn": 2, "e2m1fn": 2}  # the exponent of the largest value
MX = ["mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2", "mxfp6e2m3", "mxfp4", "mxint8"]
BLOCKS = ["bfp8", "bfp4:16", *MX, "int8", "int4:32", "sign"]
SIZES = [0, 1, 77, 513, 5000, 70_001]
NAN = 0x7FC00000


def power_of_two(arrays, name):
    """What the arrays, together with their sum, are multiplied by: APS of a fn format, else 1."""
    if name not in FN:
        return np.float32(1)
    largest = max(float(np.abs(a).max(initial=0)) for a in arrays) * len(arrays)
    mantissa, exponent = np.frexp(largest)
    return np.float32(2.0 ** (FN[name] - int(exponent) + (mantissa == 0.5)))


def cast(x, name):
    return cpdcomm.quantize(torch.from_numpy(x), name).numpy()


def ring_cuts(count, name, ranks):
    """Where a ring's chunks of a tensor end: equal shares of its bytes, cut at whole blocks."""
    run = max(8, parse(name).block)
    size, run_size = (cpdcomm.encode(torch.zeros(n), name).numel() for n in (count, run))
    inside = [size * c // ranks // run_size * run for c in range(ranks)]
    return [*(min(index, count) for index in inside), count]


def by_rank(arrays, name):
    """`direct`: casts summed from +0 in rank order, and cast once more."""
    total = np.zeros_like(arrays[0])
    for array in arrays:
        total = total + cast(array, name)
    return cast(total, name)


def by_hops(arrays, name):
    """`ring`: a partial sum is cast at every hop, and meets a part that is not."""
    total = np.zeros_like(arrays[0])
    cuts = ring_cuts(total.size, name, len(arrays))
    for first, (begin, end) in enumerate(itertools.pairwise(cuts)):
        chunk = slice(begin, end)
        held = total[chunk] + arrays[first][chunk]
        for array in np.roll(arrays, -first, axis=0)[1:]:
            held = cast(held, name) + array[chunk]
        total[chunk] = cast(held, name)
    return total


EXPECTED = {"direct": by_rank, "ring": by_hops}


def error_of(x, exact):
    return float(np.linalg.norm(x - exact))


@check
def the_bits_of_whole_tensors_casts(ranks):
    for name, algorithm, count in itertools.product((*FN, *BLOCKS), ALGORITHMS, SIZES):
        parts = [part[0][0] for part in noise(ranks, count)]
        (got,) = tensors([parts[ranks.rank]])
        report = ranks.all_reduce(got, wire=name, algorithm=algorithm)
        assert list(report.non_finite) == [False]
        ranks.agree([got.numpy()])
        scale = power_of_two(parts, name)
        want = EXPECTED[algorithm]([part * scale for part in parts], name) / scale
        same_bits(got.numpy(), want, f"{name} {algorithm} {count}")


@check
def near_the_exact_sum(ranks):
    """Within what as many casts of the exact sum as a ring makes would lose."""
    count = 5000
    parts = [part[0][0] for part in noise(ranks, count)]
    exact = sum(part.astype(np.float64) for part in parts)
    for name, algorithm in itertools.product((*FN, *BLOCKS), ALGORITHMS):
        (got,) = tensors([parts[ranks.rank]])
        ranks.all_reduce(got, wire=name, algorithm=algorithm)
        scale = power_of_two(parts, name)
        once = cast((exact * scale).astype(np.float32), name) / scale
        limit = (ranks.size + 1) * error_of(once, exact)
        assert error_of(got.numpy(), exact) <= limit, f"{name} {algorithm}"


@check
def formats_side_by_side(ranks):
    """A format per tensor gives what each gives alone, in every type and as the average."""
    names = [*FN, *BLOCKS]
    mine = noise(ranks, *[1000 + i for i in range(len(names))])[ranks.rank][0]
    for algorithm, dtype in itertools.product(ALGORITHMS, [torch.float32, torch.bfloat16]):
        together = [t.to(dtype) for t in tensors(mine)]
        ranks.all_reduce(together, wire=names, algorithm=algorithm, op="avg")
        if algorithm == "ring":  # whose chunks, and so the order of the hops, are cut by the list
            ranks.agree([t.float().numpy() for t in together])
            continue
        for x, name, got in zip(tensors(mine), names, together, strict=True):
            alone = x.to(dtype)
            ranks.all_reduce(alone, wire=name, algorithm=algorithm, op="avg")
            same_bits(got.float().numpy(), alone.float().numpy(), f"{name} {dtype}")


@check
def bytes_on_the_wire(ranks):
    count = 1 << 18
    for name, algorithm in itertools.product((*FN, *BLOCKS), ALGORITHMS):
        report = ranks.all_reduce(torch.ones(count), wire=name, algorithm=algorithm)
        bits = cpdcomm.finfo(name).bits_with_scales
        want = 2 * (ranks.size - 1) / ranks.size * count * bits / 8
        what = f"{name} {algorithm}: {report.wire_bytes} of {want}"
        assert 0.99 * want <= report.wire_bytes <= 1.05 * want, what


@check
def a_block_that_is_not_finite(ranks):
    """It is NaN on every rank, and no other is."""
    for i, (name, algorithm) in enumerate(itertools.product(BLOCKS, ALGORITHMS)):
        block = parse(name).block
        clean = tensors(noise(ranks, 4 * block + 3)[ranks.rank][0])
        broken = [clean[0].clone()]
        if ranks.rank == i % ranks.size:
            broken[0][2 * block + 1] = (np.nan, np.inf, -np.inf)[i % 3]
        ranks.all_reduce(clean, wire=name, algorithm=algorithm)
        report = ranks.all_reduce(broken, wire=name, algorithm=algorithm)
        assert list(report.non_finite) == [True]
        ranks.agree([broken[0].numpy()])
        got, want = broken[0].numpy(), clean[0].numpy().copy()
        inside = slice(2 * block, 3 * block)
        assert (bits_of(got)[inside] == NAN).all(), f"{name} {algorithm}"
        want[inside] = got[inside]
        same_bits(got, want, f"{name} {algorithm}")


@check
def a_value_that_is_not_finite_in_fn(ranks):
    """Under APS the whole tensor is NaN; e4m3fn has a code for it without."""
    for name, algorithm in itertools.product(FN, ALGORITHMS):
        x = torch.ones(40)
        if ranks.rank == ranks.size - 1:
            x[7] = np.inf
        report = ranks.all_reduce(x, wire=name, algorithm=algorithm)
        assert list(report.non_finite) == [True] and x.isnan().all(), name
    x = torch.ones(40)
    x[7] = np.nan if ranks.rank == 0 else 1
    ranks.all_reduce(x, wire="e4m3fn", scaling="none")
    assert torch.nonzero(x.isnan()).flatten().tolist() == [7]
    assert x[8] == ranks.size


@check
def options_of_a_group(ranks):
    """What DistributedDataParallel and torch.distributed ask for."""
    for name in ("e4m3fn", "bfp4:16", "mxfp4", "int4:32", "sign"):
        group = harness.new_group(wire=name, min_bytes=0)
        theirs, ours = (tensors(noise(ranks, 999)[ranks.rank][0])[0] for _ in range(2))
        torch.distributed.all_reduce(theirs, group=group)
        ranks.all_reduce(ours, wire=name)
        same_bits(theirs.numpy(), ours.numpy(), name)


if __name__ == "__main__":
    harness.main()
