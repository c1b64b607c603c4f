"""Stochastic rounding in all-reduces: whose random words, and what of them repeats."""

import itertools

import harness
import numpy as np
import torch
import torch.distributed as dist
from expected import ring_cuts
from harness import check
from inputs import ALGORITHMS, noise, tensors
from patterns import bits_of, same_bits
from reference_formats import quantize
from reference_random import words

import cpdcomm

WAYS = list(itertools.product(["wide", "rounded"], ALGORITHMS))
RESULT = 0xFFFF  # the phase of the cast of a sum
WORD = 1 << 32


def group_of(**options):
    """A new group, whose steps begin at 0."""
    return harness.new_group(rounding="stochastic", **options)


def sums(ranks, group, steps=3, **arguments):
    """The results of some steps on the same values, each other than the one before."""
    arguments = {"wire": "e4m3"} | arguments
    results = []
    for _ in range(steps):
        x = tensors(noise(ranks, 1000)[ranks.rank][0])[0]
        cpdcomm.all_reduce(x, group=group, **arguments)
        results.append(x.numpy())
    ranks.agree(results)
    for before, after in itertools.pairwise(results):
        assert (before != after).any(), "a step has the words of another"
    return results


def same(these, those):
    return all(np.array_equal(bits_of(a), bits_of(b)) for a, b in zip(these, those, strict=True))


# --- words ----------------------------------------------------------------------------------------


def cast(x, seed, step, **place):
    return quantize(x, "e4m3", words=words(x.size, seed, step, **place))


def expected(parts, seed, step):
    """`direct` and `wide` in e4m3 without scaling, of parts[rank][node]."""
    nodes, size = len(parts[0]), parts[0][0].size
    total = np.zeros(size, np.float32)
    for rank, of_rank in enumerate(parts):
        own = np.zeros(size, np.float32)
        for node, part in enumerate(of_rank):
            own = own + cast(part, seed, step, rank=rank * nodes + node)
        if nodes > 1:  # what leaves the rank is a partial sum
            own = cast(own, seed, step, phase=nodes - 1, rank=rank * nodes + nodes - 1)
        total = total + own
    (cuts,) = ring_cuts([size], [8], len(parts), False)
    result = np.empty(size, np.float32)
    for owner, (begin, end) in enumerate(itertools.pairwise(cuts)):
        by_owner = cast(total, seed, step, phase=RESULT, rank=owner * nodes + nodes - 1)
        result[begin:end] = by_owner[begin:end]
    return result


@check
def the_words_of_the_specification(ranks):
    """Seed and step are their key."""
    parts = [part[0] for part in noise(ranks, 1000)]
    got = sums(ranks, group_of(seed=5), scaling="none", algorithm="direct")
    for step, result in enumerate(got):
        same_bits(result, expected(parts, 5, step), f"step {step}")


@check
def emulated_nodes_have_their_own(ranks):
    nodes = 3
    parts = [part[0] for part in noise(ranks, *[1000] * nodes)]
    p = torch.nn.Parameter(torch.zeros(1000))
    emulator = cpdcomm.NodeEmulator(
        [p], nodes, wire="e4m3", scaling="none", algorithm="direct", group=group_of(seed=5)
    )
    for step in range(2):
        for part in parts[ranks.rank]:
            p.grad = torch.from_numpy(part.copy())
            emulator.add()
        emulator.reduce()
        same_bits(p.grad.numpy(), expected(parts, 5, step), f"step {step}")


@check
def the_same_calls_give_the_same_bits(ranks):
    for wire, way in [("e4m3", w) for w in WAYS] + [
        (wire, ("wide", algorithm))
        for wire in ("e3m0", "e2m1fn", "bfp4:16", "mxfp4", "int4:32")
        for algorithm in ALGORITHMS
    ]:
        arguments = {"wire": wire, "accumulate": way[0], "algorithm": way[1]}
        first = sums(ranks, group_of(seed=WORD - 1), **arguments)
        assert same(sums(ranks, group_of(seed=WORD - 1), **arguments), first), arguments
        assert not same(sums(ranks, group_of(seed=0), **arguments), first), arguments


@check
def the_mean_is_the_sum(ranks):
    """Without a bias: the errors of many values add up to no more than chance."""
    count = 1 << 15
    x = torch.from_numpy(noise(ranks, count)[ranks.rank][0][0])
    exact = sum(part[0][0].astype(np.float64) for part in noise(ranks, count))
    group = group_of(seed=1)
    for wire, way in itertools.product(["e4m3", "e5m2"], WAYS):
        got = x.clone()
        cpdcomm.all_reduce(got, wire, "aps", *way, group=group)
        error = np.sign(exact) * (got.numpy() - exact)
        limit = 5 * error.std() / np.sqrt(count)
        assert error.std() > 0 and abs(error.mean()) < limit, f"{wire} {way}: {error.mean()}"


# --- options --------------------------------------------------------------------------------------


@check
def the_call_or_the_group_asks(ranks):
    by_group = sums(ranks, group_of(seed=3))
    named = {"rounding": "stochastic", "seed": 3}
    assert same(sums(ranks, harness.new_group(), **named), by_group)
    assert same(sums(ranks, group_of(), seed=3), by_group)
    assert same(sums(ranks, harness.new_group(seed=3), rounding="stochastic"), by_group)
    x, y = (tensors(noise(ranks, 1000)[ranks.rank][0])[0] for _ in range(2))
    cpdcomm.all_reduce(x, "e4m3", rounding="nearest_even", group=group_of(seed=3))
    ranks.all_reduce(y, "e4m3")
    same_bits(x.numpy(), y.numpy())


@check
def torch_distributed_does_as_the_group_says(ranks):
    want = sums(ranks, group_of(seed=3))
    group = group_of(seed=3, wire="e4m3", min_bytes=0)
    got = [tensors(noise(ranks, 1000)[ranks.rank][0])[0] for _ in want]
    works = [dist.all_reduce(x, group=group, async_op=True) for x in got]
    for work in works:
        work.wait()
    assert same([x.numpy() for x in got], want)


@check
def only_stochastic_sums_are_steps(ranks):
    """Neither other operations nor calls that one rank refuses change the words."""
    want = sums(ranks, group_of(seed=3))
    group = group_of(seed=3)
    got = sums(ranks, group, 1)
    dist.barrier(group=group)
    cpdcomm.all_reduce(torch.ones(9), rounding="nearest_even", group=group)
    for culprit in range(ranks.size):
        accumulate = "kahan" if ranks.rank == culprit else "wide"
        try:
            cpdcomm.all_reduce(torch.ones(9), "e4m3", accumulate=accumulate, group=group)
        except (ValueError, cpdcomm.MismatchError) as error:
            assert isinstance(error, ValueError) == (ranks.rank == culprit), repr(error)
        else:
            raise AssertionError("nothing was raised")
    got += sums(ranks, group, 2)
    assert same(got, want)


# --- a seed that nobody names ---------------------------------------------------------------------


@check
def manual_seed_governs(ranks):
    """That of the group's rank 0 alone, which draws once."""

    def seeded(torch_seed, **options):
        torch.manual_seed(torch_seed if ranks.rank == 0 else 100 + ranks.rank)
        before = torch.get_rng_state()
        group = group_of(**options)
        first = sums(ranks, group, 1)
        drawn = torch.get_rng_state()
        assert torch.equal(before, drawn) == (ranks.rank != 0 or "seed" in options)
        both = first + sums(ranks, group, 1)
        assert torch.equal(torch.get_rng_state(), drawn)
        return both

    want = seeded(7)
    assert same(seeded(7), want)
    assert not same(seeded(8), want)
    assert not same(seeded(7, seed=1), want)


@check
def groups_draw_for_themselves(ranks):
    torch.manual_seed(7)
    assert not same(sums(ranks, group_of()), sums(ranks, group_of()))


@check
def a_group_has_a_rank_0_of_its_own(ranks):
    drawing = ranks.size - 1
    options = cpdcomm.Options(rounding="stochastic")
    group = dist.new_group([drawing], backend="cpd", pg_options=options)
    if ranks.rank == drawing:
        before = torch.get_rng_state()
        cpdcomm.all_reduce(torch.ones(9), group=group)
        assert not torch.equal(torch.get_rng_state(), before)


@check
def a_refused_first_call_does_not_part_the_ranks(ranks):
    """Before they have agreed on a seed, and after."""
    for culprit in range(ranks.size):
        group = group_of()
        for wrong in ({"wire": "e9m9"}, {"wire": "e4m3", "accumulate": "kahan"}, {"seed": -1}):
            arguments = wrong if ranks.rank == culprit else {"wire": "e4m3"}
            try:
                cpdcomm.all_reduce(torch.ones(9), group=group, **arguments)
            except (ValueError, cpdcomm.MismatchError) as error:
                assert isinstance(error, ValueError) == (ranks.rank == culprit), repr(error)
            else:
                raise AssertionError("nothing was raised")
        sums(ranks, group)


if __name__ == "__main__":
    harness.main()
