"""What is kept between calls, and what goes along with a call: residuals, exponents, factors."""

import itertools

import harness
import numpy as np
import reference as ref
import reference_sums as sums
import torch
from harness import check
from inputs import tensors
from misuse import both_ways, everywhere, raised_by
from patterns import same_bits

import cpdcomm

ALGORITHMS = ["direct", "ring", "tree", "halving_doubling"]
STEPS = 5


def step_parts(ranks, step, count=1300):
    """Every rank's gradient of a step."""
    draw = np.random.default_rng([step, count]).standard_normal((ranks.size, count))
    return list((draw * np.exp2(np.arange(count) % 9 - 6)).astype(np.float32))


# --- error feedback -------------------------------------------------------------------------------


def fed(parts, residuals):
    return [part + residual for part, residual in zip(parts, residuals, strict=True)]


@check
def residuals_are_what_casts_lose(ranks):
    """Bit for bit over several steps, under every algorithm; the sum under `direct`."""
    ways = [("int2", "wide"), ("e3m0", "wide"), ("bfp4:16", "wide"), ("sign", "wide")]
    ways += [("e3m0", "rounded"), ("e4m3", "kahan")]
    for (wire, accumulate), algorithm in itertools.product(ways, ALGORITHMS):
        feedback = cpdcomm.ErrorFeedback()
        residuals = [np.zeros(1300, np.float32)] * ranks.size
        for step in range(STEPS):
            values = fed(step_parts(ranks, step), residuals)
            (got,) = tensors([step_parts(ranks, step)[ranks.rank]])
            arguments = {"wire": wire, "accumulate": accumulate, "algorithm": algorithm}
            ranks.all_reduce(got, error_feedback=feedback, **arguments)
            what = f"{arguments} step {step}"
            ranks.agree([got.numpy()])
            residuals = [v - c for v, c in zip(values, sums.casts(values, wire), strict=True)]
            same_bits(feedback[0].numpy(), residuals[ranks.rank], what)
            if algorithm == "direct":
                same_bits(got.numpy(), sums.direct(values, wire, accumulate), what)
        assert np.abs(residuals[0]).max() > 0


@check
def residuals_of_exact_sums(ranks):
    for wire, algorithm in itertools.product(("int2", "bfp4:16"), [*ALGORITHMS, "hierarchical"]):
        feedback = cpdcomm.ErrorFeedback()
        residuals = [np.zeros(1300, np.float32)] * ranks.size
        for step in range(STEPS):
            values = fed(step_parts(ranks, step), residuals)
            (got,) = tensors([step_parts(ranks, step)[ranks.rank]])
            arguments = {"wire": wire, "accumulate": "exact", "algorithm": algorithm}
            ranks.all_reduce(got, error_feedback=feedback, **arguments)
            want, casts = sums.exact(values, wire)
            same_bits(got.numpy(), want, f"{arguments} step {step}")
            residuals = [v - c for v, c in zip(values, casts, strict=True)]
            same_bits(feedback[0].numpy(), residuals[ranks.rank], f"{arguments} step {step}")


@check
def nothing_is_lost_over_many_steps(ranks):
    """What has arrived is what was sent, but for the last step's loss."""
    feedback, arrived = cpdcomm.ErrorFeedback(), np.zeros(64)
    part = step_parts(ranks, 0, 64)[ranks.rank]
    for _ in range(40):
        (got,) = tensors([part])
        ranks.all_reduce(got, wire="int2", accumulate="exact", error_feedback=feedback)
        arrived += got.numpy()
    sent = 40 * sum(p.astype(np.float64) for p in step_parts(ranks, 0, 64))
    kept = sum(r.astype(np.float64) for r in ranks.everybody(feedback[0].numpy()))
    np.testing.assert_allclose(arrived, sent - kept, rtol=1e-4, atol=1e-4)


@check
def a_step_that_is_not_finite_is_skipped(ranks):
    for wire, algorithm in itertools.product(("int2", "e3m0"), ALGORITHMS):
        feedback = cpdcomm.ErrorFeedback()
        for step in range(2):
            (got,) = tensors([step_parts(ranks, step)[ranks.rank]])
            ranks.all_reduce(got, wire, algorithm=algorithm, error_feedback=feedback)
        before = feedback[0].numpy().copy()
        (got,) = tensors([step_parts(ranks, 2)[ranks.rank]])
        if ranks.rank == ranks.size - 1:
            got[1000] = torch.inf
        report = ranks.all_reduce(got, wire, algorithm=algorithm, error_feedback=feedback)
        assert list(report.non_finite) == [True] and got.isnan().any()
        same_bits(feedback[0].numpy(), before, f"{wire} {algorithm}")


@check
def a_residual_per_key(ranks):
    """Two calls a step with keys give what one call gives; a checkpoint goes on as if nothing."""
    mine = [step_parts(ranks, 3, n)[ranks.rank] for n in (100, 40, 7)]
    one, two = cpdcomm.ErrorFeedback(), cpdcomm.ErrorFeedback()
    for _ in range(3):
        together, apart = tensors(mine), tensors(mine)
        arguments = {"wire": "int2", "algorithm": "direct"}
        ranks.all_reduce(together, error_feedback=one, **arguments)
        ranks.all_reduce(apart[1:], error_feedback=two, keys=["b", 7], **arguments)
        ranks.all_reduce(apart[0], error_feedback=two, keys=["a"], **arguments)
        for a, b in zip(together, apart, strict=True):
            same_bits(a.numpy(), b.numpy())
        again = cpdcomm.ErrorFeedback()
        again.load_state_dict(two.state_dict())
        two = again
    assert (one.keys(), two.keys()) == ([0, 1, 2], ["b", 7, "a"])
    same_bits(one[1].numpy(), two["b"].numpy())


@check
def residuals_lie_where_the_gradients_lie(ranks):
    """Not on torch's default device, and from call to call, from a checkpoint and masked, too."""
    found = []
    for device in ("cpu", "meta"):
        feedback = cpdcomm.ErrorFeedback()
        with torch.device(device):
            for step in range(3):
                (got,) = tensors([step_parts(ranks, step, 64)[ranks.rank]])
                ranks.all_reduce(got, wire="int2", error_feedback=feedback)
                feedback.mask_(0, got.abs() > 0.1)
                feedback.load_state_dict(feedback.state_dict())
        assert feedback[0].device.type == "cpu" and feedback[0].dtype == torch.float32
        found += [got, feedback[0]]
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3]), found


@check
def other_memories_ask_for_no_device(ranks):
    memory, parameter = cpdcomm.DelayedScaling(), torch.nn.Parameter(torch.zeros(9))
    with torch.device("meta"):
        for _ in range(2):
            kept = {"scaling": "delayed", "scale_memory": memory}
            emulator = cpdcomm.NodeEmulator([parameter], 2, wire="e4m3", group=ranks.group, **kept)
            for _ in range(2):
                parameter.grad = torch.full((9,), 0.5, device="cpu")
                emulator.add()
            emulator.reduce()
            assert parameter.grad.tolist() == [ranks.size] * 9


@check
def residuals_that_cannot_be(ranks):
    feedback = cpdcomm.ErrorFeedback()
    ranks.all_reduce(torch.ones(9), "int2", error_feedback=feedback, keys=["a"])

    def wrong(x=None, **arguments):
        arguments = {"wire": "int2", "error_feedback": feedback} | arguments
        return lambda: ranks.all_reduce(torch.ones(9) if x is None else x, **arguments)

    both_ways(ranks, ValueError, wrong(torch.ones(8), keys=["a"]), "'a'", "8 values", "9", "reset")
    both_ways(ranks, ValueError, wrong(keys=["a", "b"]), "2 keys for 1")
    both_ways(ranks, ValueError, wrong([torch.ones(9)] * 2, keys=["a", "a"]), "'a'", "twice")
    both_ways(ranks, TypeError, wrong(keys=[1.5]), "1.5", "float")
    both_ways(ranks, TypeError, wrong(keys="a"), "list")
    both_ways(ranks, TypeError, wrong(error_feedback={}), "dict", "ErrorFeedback")
    both_ways(ranks, ValueError, wrong(error_feedback=None, keys=["a"]), "keys")
    both_ways(ranks, ValueError, wrong(wire="sign", accumulate="majority"), "residual", "vote")
    hierarchical = {"algorithm": "hierarchical", "inner": "fp32"}
    both_ways(ranks, ValueError, wrong(**hierarchical), "residual", "inner", "wire")
    assert feedback.keys()[0] == "a"


@check
def ranks_with_and_without_a_residual(ranks):
    feedback = cpdcomm.ErrorFeedback() if ranks.rank == 0 else None
    everywhere(
        ranks,
        cpdcomm.MismatchError,
        lambda: ranks.all_reduce(torch.ones(9), "int2", error_feedback=feedback),
    )


# --- delayed scaling ------------------------------------------------------------------------------

GROWTH = [1.0, 1.0, 40.0, 1.0, 0.0, 3.0, 0.001]


@check
def delayed_exponents(ranks):
    for wire, accumulate in itertools.product(("e4m3", "e3m0"), ("wide", "rounded", "kahan")):
        memory, exponent = cpdcomm.DelayedScaling(), None
        for step, factor in enumerate(GROWTH):
            parts = [np.float32(factor) * part for part in step_parts(ranks, step)]
            (got,) = tensors([parts[ranks.rank]])
            report = delayed(ranks, got, memory, wire=wire, accumulate=accumulate)
            own = ref.aps_exponent(parts, ranks.size)
            want = ref.all_reduce(
                [[p] for p in parts],
                *ref.exp_man(wire),
                accumulate=accumulate,
                aps=True,
                exponent=exponent,
            )
            same_bits(got.numpy(), want, f"{wire} {accumulate} step {step}")
            assert list(report.saturated) == [None not in (own, exponent) and own > exponent]
            assert memory.exponent(0) == own
            exponent = own


def delayed(ranks, x, memory, algorithm="direct", **arguments):
    arguments = {"scaling": "delayed", "scale_memory": memory} | arguments
    return ranks.all_reduce(x, algorithm=algorithm, **arguments)


@check
def delayed_under_every_algorithm(ranks):
    """The same exponents, the same bits on every rank, the same report; NaN changes nothing."""
    for algorithm in ALGORITHMS:
        memory = cpdcomm.DelayedScaling()
        for step, factor in enumerate(GROWTH):
            parts = [np.float32(factor) * part for part in step_parts(ranks, step)]
            (got,) = tensors([parts[ranks.rank]])
            delayed(ranks, got, memory, algorithm, wire="e4m3", keys=["w"])
            assert memory.exponent("w") == ref.aps_exponent(parts, ranks.size)
            ranks.agree([got.numpy()])
        before = memory.state_dict()
        got[3] = np.nan if ranks.rank == 0 else 1
        report = delayed(ranks, got, memory, algorithm, wire="e4m3", keys=["w"])
        assert list(report.non_finite) == [True] and got.isnan().all()
        assert memory.state_dict() == before


@check
def delayed_needs_no_message_ahead(ranks):
    x, memory = torch.ones(8), cpdcomm.DelayedScaling()
    first = delayed(ranks, x.clone(), memory, wire="e4m3").wire_bytes
    later = delayed(ranks, x.clone(), memory, wire="e4m3").wire_bytes
    assert later < first


@check
def delayed_emulated_nodes(ranks):
    memory, p = cpdcomm.DelayedScaling(), torch.nn.Parameter(torch.zeros(100))
    emulator = cpdcomm.NodeEmulator(
        [p], 2, wire="e4m3", scaling="delayed", scale_memory=memory, group=ranks.group
    )
    for _ in range(2):
        for _ in range(2):
            p.grad = torch.full((100,), 0.5)
            emulator.add()
        emulator.reduce()
        assert p.grad.tolist() == [1.0 * ranks.size] * 100
    assert memory.exponent(0) == (ranks.size - 1).bit_length()


@check
def exponents_that_cannot_be(ranks):
    x = torch.ones(9)
    memory, other = cpdcomm.DelayedScaling(), cpdcomm.DelayedScaling()

    def wrong(**arguments):
        return lambda: ranks.all_reduce(x, **({"wire": "e4m3"} | arguments))

    both_ways(ranks, ValueError, wrong(scaling="delayed"), "delayed", "DelayedScaling")
    both_ways(ranks, ValueError, wrong(scale_memory=memory), "scale_memory", "automatic")
    both_ways(ranks, TypeError, wrong(scaling="delayed", scale_memory=3), "int")
    fed = {"scaling": "delayed", "scale_memory": memory, "error_feedback": cpdcomm.ErrorFeedback()}
    both_ways(ranks, ValueError, wrong(**fed), "residual", "delayed", "aps")
    block = {"wire": "int8", "scaling": "delayed", "scale_memory": memory}
    both_ways(ranks, ValueError, wrong(**block), "int8", "delayed")
    memory.load_state_dict({"exponents": {0: 3}})
    other.load_state_dict({"exponents": {0: 4}})
    mine = memory if ranks.rank == 0 else other
    differing = wrong(scaling="delayed", scale_memory=mine)
    everywhere(ranks, cpdcomm.MismatchError, differing)


# --- factors, and results of another type ---------------------------------------------------------


@check
def factors_cost_no_rounding(ranks):
    """Those of powers of two that are exact in FP32 anyway: one shift more or less."""
    parts = step_parts(ranks, 0)
    for wire, accumulate, scaling in [
        ("e4m3", "wide", "aps"),
        ("e4m3", "kahan", "aps"),
        ("e3m0", "rounded", "aps"),
        ("e5m10", "wide", "none"),
    ]:
        (got,) = tensors([parts[ranks.rank]])
        ranks.all_reduce(
            got, wire, scaling, accumulate, "direct", input_factor=2**-7, output_factor=32.0
        )
        scaled = [[p * np.float32(2**-7)] for p in parts]
        aps = scaling == "aps"
        want = ref.all_reduce(scaled, *ref.exp_man(wire), accumulate=accumulate, aps=aps)
        same_bits(got.numpy(), want * np.float32(32), f"{wire} {accumulate} {scaling}")


@check
def half_precision_in_and_float32_out(ranks):
    for dtype, factor in itertools.product((torch.float16, torch.bfloat16), (1.0, 2.0**-10)):
        halves = [torch.from_numpy(p).to(dtype) for p in step_parts(ranks, 1)]
        mine, out = halves[ranks.rank].clone(), torch.full((1300,), torch.nan)
        report = ranks.all_reduce(mine, "e4m3", algorithm="direct", out=out, output_factor=factor)
        want = ref.all_reduce([[h.float().numpy()] for h in halves], 4, 3, aps=True)
        same_bits(out.numpy(), want * np.float32(factor), f"{dtype} {factor}")
        assert torch.equal(mine, halves[ranks.rank]), "only read"
        assert list(report.non_finite) == [False]
        if ranks.rank == ranks.size - 1:
            mine[9] = torch.inf
        report = ranks.all_reduce(mine, "e4m3", out=out)
        assert list(report.non_finite) == [True] and out.isnan().all()


@check
def many_tensors_into_others(ranks):
    """Empty ones, boundaries, transposed ones; sums beyond what FP16 holds."""
    mine = [torch.full((3, 4), 40000.0).half(), torch.empty(0).half(), torch.ones(5).half()]
    out = [torch.empty(4, 3).t(), torch.empty(0), torch.empty(5)]
    ranks.all_reduce(mine, out=out)
    assert out[0].tolist() == [[40000.0 * ranks.size] * 4] * 3
    assert out[2].tolist() == [ranks.size] * 5
    flat, result = torch.arange(10.0), torch.empty(10)
    ranks.all_reduce(flat, boundaries=[4, 10], out=result)
    assert torch.equal(result, torch.arange(10.0) * ranks.size)
    assert torch.equal(flat, torch.arange(10.0))


@check
def factors_and_outputs_that_cannot_be(ranks):
    x = torch.ones(9)

    def wrong(**arguments):
        return lambda: ranks.all_reduce(x, **arguments)

    for name, factor in itertools.product(
        ("input_factor", "output_factor"), (3.0, 0.0, -2.0, float("nan"), float("inf"), 2.0**127)
    ):
        both_ways(ranks, ValueError, wrong(**{name: factor}), name, str(factor), "power of two")
    both_ways(ranks, TypeError, wrong(input_factor="2"), "input_factor", "'2'")
    both_ways(ranks, ValueError, wrong(out=[]), "0 tensors for 1")
    both_ways(ranks, ValueError, wrong(out=torch.ones(8)), "(8,)", "(9,)")
    both_ways(ranks, TypeError, wrong(out=torch.ones(9).half()), "float16", "float32")
    shared = torch.ones(12)
    overlapping = [shared[:9]], shared[3:]
    error = raised_by(lambda: ranks.all_reduce(overlapping[0], out=overlapping[1]))
    assert isinstance(error, ValueError) and "overlaps" in str(error), repr(error)
    ranks.still_sums()


if __name__ == "__main__":
    harness.main()
