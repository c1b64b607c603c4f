"""Which bits an all-reduce gives: the emulation's, the same on every rank and in every run."""

import itertools

import harness
import numpy as np
from expected import Call, all_reduce
from harness import check
from inputs import ACCUMULATES, ALGORITHMS, WAYS, noise, tensors
from patterns import same_bits

FORMATS = ["e4m3", "e5m2", "e3m0", "e2m3", "e5m5", "e8m12", "bf16", "fp16", "fp32"]
SIZES = [0, 1, 2, 7, 8, 9, 1000, 65537]


def hold(ranks, calls, parts):
    """Every call gives the emulation's bits on every rank; each rank emulates its share."""
    for i, call in enumerate(calls):
        got = tensors(parts[ranks.rank][0])
        ranks.all_reduce(got, **call.arguments())
        ranks.agree([g.numpy() for g in got])
        if i % ranks.size == ranks.rank:
            for t, want in enumerate(all_reduce(parts, call)):
                same_bits(got[t].numpy(), want, f"{call} tensor {t}")


@check
def real_gradients(ranks):
    parts = [[ranks.gradients[rank]] for rank in range(ranks.size)]
    grid = itertools.product(FORMATS, ["aps", "none"], ACCUMULATES, ALGORITHMS)
    hold(ranks, [Call(*arguments) for arguments in grid], parts)


@check
def average(ranks):
    parts = [[ranks.gradients[rank]] for rank in range(ranks.size)]
    hold(ranks, [Call(f, "aps", *way, "avg") for f in ("e4m3", "fp32") for way in WAYS], parts)


@check
def a_scale_per_piece(ranks):
    parts = [[ranks.gradients[rank]] for rank in range(ranks.size)]
    hold(ranks, [Call("e3m2", s, *way) for s in ("aps:256", "aps:100000") for way in WAYS], parts)
    parts = noise(ranks, 77, 8, 130)
    hold(ranks, [Call("e4m3", s, *way) for s in ("aps:8", "aps:24") for way in WAYS], parts)


@check
def a_format_per_tensor(ranks):
    """The last layer and the biases travel in FP32 among others."""
    parts = [[ranks.gradients[rank]] for rank in range(ranks.size)]
    wires = tuple("fp32" if p.ndim == 1 else "e4m3" for p in parts[0][0][:-2]) + ("bf16", "fp32")
    scalings = ["aps", "none", "aps:64"]
    hold(ranks, [Call(wires, s, *way) for s in scalings for way in WAYS], parts)


@check
def sizes_around_the_cuts(ranks):
    """Few values for many ranks, empty tensors in between, cuts inside and at the ends."""
    for counts in [(1,), (0, 1, 0), (7, 8, 9), (3, 0, 40, 16, 1), (64, 64, 64), (0,), (1000, 5)]:
        parts = noise(ranks, *counts)
        calls = [Call(f, "aps", *way) for f in ("e3m0", "e2m4", "e5m9") for way in WAYS]
        hold(ranks, calls, parts)


@check
def many_segments(ranks):
    parts = noise(ranks, 200_003, 50_001)
    hold(ranks, [Call("e4m3", "aps", *way) for way in WAYS], parts)
    hold(ranks, [Call("fp32", "none", *way) for way in WAYS], parts)


@check
def every_rank_and_every_run(ranks):
    for size in SIZES:
        mine = noise(ranks, size)[ranks.rank][0]
        for wire, way in itertools.product(["e4m3", "e5m5", "fp32"], WAYS):
            arguments = Call(wire, "aps", *way).arguments()
            runs = [tensors(mine), tensors(mine)]
            for run in runs:
                ranks.all_reduce(run, **arguments)
            ranks.agree([run[0].numpy() for run in runs])
            same_bits(runs[0][0].numpy(), runs[1][0].numpy(), f"{size} values, {arguments}")


@check
def automatic_is_a_named_one(ranks):
    mine = noise(ranks, 1000)[ranks.rank][0]
    free, named = tensors(mine), tensors(mine)
    report = ranks.all_reduce(free, wire="e4m3")
    assert report.algorithm in ALGORITHMS
    assert ranks.all_reduce(named, wire="e4m3", algorithm=report.algorithm).algorithm in ALGORITHMS
    same_bits(free[0].numpy(), named[0].numpy())


@check
def defaults_lose_nothing(ranks):
    """No wire: FP32 additions in rank order."""
    parts = noise(ranks, 5000)
    got = tensors(parts[ranks.rank][0])
    ranks.all_reduce(got)
    want = np.zeros(5000, np.float32)
    for part in parts:
        want = want + part[0][0]
    same_bits(got[0].numpy(), want)


@check
def a_float_wire_is_scaled_unless_told_otherwise(ranks):
    parts = [[[1e-6 * p[0][0]]] for p in noise(ranks, 500)]
    for wire, scaling, means in [
        ("e4m3", None, "aps"),
        (["e4m3"], None, "aps"),
        ("e4m3", "none", "none"),
    ]:
        got = tensors(parts[ranks.rank][0])
        ranks.all_reduce(got, wire=wire, scaling=scaling)
        same_bits(got[0].numpy(), all_reduce(parts, Call("e4m3", means))[0])


if __name__ == "__main__":
    harness.main()
