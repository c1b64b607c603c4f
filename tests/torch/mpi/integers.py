"""`exact` and `majority`: one result, whatever the algorithm and the order of the ranks."""

import itertools

import harness
import numpy as np
import reference_sums as sums
import torch
from harness import check
from inputs import noise, tensors
from misuse import both_ways, with_arguments
from patterns import same_bits

import cpdcomm

ALGORITHMS = ["automatic", "direct", "ring", "tree", "halving_doubling", "hierarchical"]
FORMATS = ["bfp8", "bfp4:16", "bfp2", "int8", "int4:32", "int2"]
SIZES = [0, 1, 77, 513, 5000, 70_001]


def parts_of(ranks, count):
    """The same values on every rank: what each of them brings."""
    return [part[0][0] for part in noise(ranks, count)]


def hold(ranks, parts, want, what, **arguments):
    """All algorithms give `want` on every rank."""
    for algorithm in ALGORITHMS:
        (got,) = tensors([parts[ranks.rank]])
        report = ranks.all_reduce(got, algorithm=algorithm, **arguments)
        assert algorithm in ("automatic", report.algorithm)
        assert report.compressed
        assert list(report.non_finite) == [not np.isfinite(want).all()]
        same_bits(got.numpy(), want, f"{what} {algorithm} {arguments}")


@check
def exact_sums(ranks):
    for name, count in itertools.product(FORMATS, SIZES):
        parts = parts_of(ranks, count)
        want, _ = sums.exact(parts, name)
        hold(ranks, parts, want, str(count), wire=name, accumulate="exact")


@check
def exact_averages_and_results_in_the_wire_format(ranks):
    for name in FORMATS:
        parts = parts_of(ranks, 3001)
        for result, op in itertools.product(("full", "wire"), ("sum", "avg")):
            want, _ = sums.exact(parts, name, result, op)
            arguments = {"wire": name, "accumulate": "exact", "result": result, "op": op}
            hold(ranks, parts, want, "", **arguments)
    full, wire = (sums.exact(parts_of(ranks, 3001), "int8", r)[0] for r in ("full", "wire"))
    assert (full != wire).any(), "the check tells them apart"


@check
def exact_knows_no_order_of_the_ranks(ranks):
    parts = parts_of(ranks, 2000)
    want, _ = sums.exact(parts, "int8")
    turned = parts[ranks.rank - 1]
    (got,) = tensors([turned])
    ranks.all_reduce(got, wire="int8", accumulate="exact", scaling="aps", algorithm="ring")
    same_bits(got.numpy(), want)


@check
def a_block_that_is_not_finite(ranks):
    for name in ("bfp4:16", "int4:32"):
        parts = parts_of(ranks, 999)
        parts[-1][40] = np.inf
        parts[0][300] = np.nan
        want, _ = sums.exact(parts, name)
        assert 0 < np.isnan(want).sum() < 100
        hold(ranks, parts, want, "", wire=name, accumulate="exact")


@check
def exact_travels_in_few_bits(ranks):
    count = 1 << 18
    x = torch.randn(count)
    sent = ranks.all_reduce(x, wire="int4", accumulate="exact", algorithm="direct").wire_bytes
    # Parts of 4 bits, a result of 4 + ceil(log2 ranks), a word per 512 values.
    bits = 4 + 4 + (ranks.size - 1).bit_length()
    want = (ranks.size - 1) / ranks.size * count * bits / 8
    assert want < sent < 1.2 * want, (sent, want)


@check
def majorities(ranks):
    for count in SIZES:
        parts = parts_of(ranks, count)
        for part in parts:
            part[1::7] = 0
            part[2::7] = -0.0
        want = sums.majority(parts)
        hold(ranks, parts, want, str(count), wire="sign", accumulate="majority")
        assert set(np.unique(want)) <= ({-1, 1} if ranks.size % 2 else {-1, 0, 1})


@check
def a_majority_of_what_is_not_finite(ranks):
    parts = parts_of(ranks, 500)
    parts[-1][7] = np.nan
    hold(ranks, parts, sums.majority(parts), "", wire="sign", accumulate="majority")


@check
def a_vote_takes_a_bit(ranks):
    count = 1 << 18
    report = ranks.all_reduce(torch.ones(count), "sign", None, "majority", "direct")
    want = (ranks.size - 1) / ranks.size * count * (1 + 2) / 8
    assert want <= report.wire_bytes < 1.05 * want


@check
def hierarchical_is_emulated_nodes(ranks):
    """All ranks are on one host: with the wire format inside, its sum is that of its nodes."""
    parts = [part[0] for part in noise(ranks, 3000, 70)]
    for accumulate in ("wide", "rounded", "kahan"):
        p = [torch.nn.Parameter(torch.zeros(n.size)) for n in parts[0]]
        alone = dist_of_one(ranks)
        emulator = cpdcomm.NodeEmulator(
            p, ranks.size, wire="e4m3", accumulate=accumulate, algorithm="direct", group=alone
        )
        for node in parts:
            for parameter, gradient in zip(p, node, strict=True):
                parameter.grad = torch.from_numpy(gradient.copy())
            emulator.add()
        emulator.reduce()
        got = tensors(parts[ranks.rank])
        arguments = {"algorithm": "hierarchical", "inner": "wire", "across": "ring"}
        ranks.all_reduce(got, wire="e4m3", accumulate=accumulate, **arguments)
        for x, parameter in zip(got, p, strict=True):
            same_bits(x.numpy(), parameter.grad.numpy(), accumulate)
        torch.distributed.destroy_process_group(alone)


def dist_of_one(ranks):
    """A group of this rank alone; all ranks make all of them."""
    groups = [torch.distributed.new_group([r], backend="cpd") for r in range(ranks.size)]
    return groups[ranks.rank]


@check
def groups_ask_for_them(ranks):
    """What DistributedDataParallel and torch.distributed ask for."""
    for options in (
        {"wire": "int8", "accumulate": "exact", "result": "wire"},
        {"wire": "sign", "accumulate": "majority"},
        {"wire": "bfp8", "algorithm": "hierarchical", "inner": "wire", "across": "tree"},
    ):
        group = harness.new_group(**options, min_bytes=0)
        theirs, ours = (tensors([parts_of(ranks, 999)[ranks.rank]])[0] for _ in range(2))
        torch.distributed.all_reduce(theirs, group=group)
        ranks.all_reduce(ours, **options)
        same_bits(theirs.numpy(), ours.numpy(), str(options))


@check
def what_does_not_go_together(ranks):
    for arguments, words in [
        ({"wire": "e4m3", "accumulate": "exact"}, ["e4m3", "exact", "bfpK and intK"]),
        ({"wire": "int8", "accumulate": "majority"}, ["int8", "majority", "sign"]),
        ({"wire": "sign", "accumulate": "majority", "op": "avg"}, ["majority", "avg"]),
        ({"wire": "int8", "result": "wire"}, ["result", "exact", "wide"]),
        ({"wire": "int8", "result": "some"}, ["some", "full", "wire"]),
        ({"algorithm": "native"}, ["native", "ring"]),
        ({"algorithm": "hierarchical", "across": "hierarchical"}, ["across", "ring"]),
        ({"algorithm": "hierarchical", "inner": "e9m9"}, ["e9m9", "fp32"]),
        ({"wire": "int29", "accumulate": "exact"}, ["int29"]),
    ]:
        both_ways(ranks, ValueError, with_arguments(ranks, **arguments), *words)
    for name in ("across", "inner", "result"):
        both_ways(ranks, TypeError, with_arguments(ranks, **{name: 7}), name)


if __name__ == "__main__":
    harness.main()
