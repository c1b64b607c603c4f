"""Options: what is allowed, and which of call, group and environment wins."""

import copy
import dataclasses
import pickle

import mpirun
import pytest
import torch
import warm

import cpdcomm

# --- Options --------------------------------------------------------------------------------------


def test_nothing_is_asked_for_by_default():
    options = cpdcomm.Options()
    assert all(getattr(options, field.name) is None for field in dataclasses.fields(options))
    policy = options.over_environment()
    assert (policy.min_bytes, policy.all_reduce) == (4096, True)
    assert not policy.reduce_scatter and not policy.all_gather
    made = policy.options
    assert (made.wire, made.scaling) == ("fp32", "automatic")
    assert (made.accumulate, made.algorithm) == ("wide", "automatic")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("wire", ["fp32", "e4m3", "bf16", "e2m1fn", "bfp4:16", "mxfp4", "int8", "sign", "e8m23"]),
        ("scaling", ["automatic", "none", "aps", "aps:8", "aps:65536"]),
        ("accumulate", ["wide", "rounded", "kahan"]),
        ("algorithm", ["automatic", "direct", "ring", "tree", "halving_doubling", "hierarchical"]),
        ("across", ["automatic", "direct", "ring", "tree", "halving_doubling"]),
        ("inner", ["fp32", "wire", "bf16", "e5m2"]),
        ("result", ["full"]),
        ("timeout", [0.5, 1, 3600.0, 0.001]),
        ("rounding", ["nearest_even", "stochastic"]),
        ("seed", [0, 7, 2**32 - 1]),
    ],
)
def test_what_is_allowed(name, values):
    for value in values:
        options = cpdcomm.Options(**{name: value})
        assert getattr(options, name) == value
        policy = options.over_environment()
        made = policy.timeout if name == "timeout" else getattr(policy.options, name)
        assert made == value or (name, value, made) == ("wire", "e8m23", "fp32")


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("wire", "float8", "fp32"),
        ("wire", "e9m3", "e9m3"),
        ("wire", "", "fp32"),
        ("scaling", "asp", "aps"),
        ("scaling", "aps:7", "multiple of 8"),
        ("accumulate", "exactly", "kahan"),
        ("algorithm", "tree house", "hierarchical"),
        ("algorithm", "native", "ring"),
        ("across", "dance", "ring"),
        ("across", "hierarchical", "across.*ring"),
        ("inner", "float8", "float8"),
        ("result", "half", "full, wire"),
        ("scaling", "delayed", "scale_memory"),
        ("timeout", 0, "positive|seconds"),
        ("timeout", -1.0, "positive|seconds"),
        ("timeout", float("nan"), "positive|seconds"),
        ("timeout", float("inf"), "positive|seconds"),
        ("rounding", "up", "nearest_even, stochastic"),
        ("seed", -1, r"seed is -1"),
        ("seed", 2**32, r"2\*\*32"),
    ],
)
def test_what_is_not_allowed(name, value, known):
    with pytest.raises(ValueError, match=known):
        cpdcomm.Options(**{name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accumulate": "kahan", "rounding": "stochastic"}, "kahan.*stochastic"),
        ({"wire": "bfp8", "scaling": "aps"}, "bfp8.*aps"),
        ({"wire": "int8", "accumulate": "rounded"}, "int8.*rounded"),
        ({"wire": "e2m1fn", "scaling": "none"}, "e2m1fn.*Inf"),
        ({"wire": "e4m3", "accumulate": "exact"}, "e4m3.*exact"),
        ({"wire": "bfp8", "accumulate": "majority"}, "bfp8.*majority.*sign"),
        ({"wire": "sign", "accumulate": "majority", "scaling": "aps:8"}, "aps:8.*majority"),
        ({"wire": "int8", "result": "wire"}, "result 'wire'.*exact.*wide"),
    ],
)
def test_what_is_not_allowed_together(options, words):
    with pytest.raises(ValueError, match=words):
        cpdcomm.Options(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"wire": "bfp8", "accumulate": "exact", "result": "wire"},
        {"wire": "int8:64", "accumulate": "exact", "scaling": "aps"},
        {"wire": "sign", "accumulate": "majority"},
        {"wire": "e4m3", "algorithm": "hierarchical", "across": "ring", "inner": "wire"},
    ],
)
def test_what_is_allowed_together(options):
    made = cpdcomm.Options(**options).over_environment().options
    assert {name: getattr(made, name) for name in options} == options


def test_which_calls_travel_in_the_wire_format():
    made = cpdcomm.Options(min_bytes=0, collectives=["reduce_scatter"]).over_environment()
    assert made.min_bytes == 0
    assert (made.all_reduce, made.reduce_scatter, made.all_gather) == (False, True, False)
    made = cpdcomm.Options(collectives="all_reduce,all_gather").over_environment()
    assert (made.all_reduce, made.reduce_scatter, made.all_gather) == (True, False, True)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"min_bytes": -1}, ValueError, "min_bytes is -1"),
        ({"min_bytes": 1.5}, TypeError, "min_bytes is 1.5"),
        ({"min_bytes": True}, TypeError, "min_bytes is True"),
        ({"collectives": ["all_reduce", "gather"]}, ValueError, "'gather'.*reduce_scatter"),
        ({"collectives": [3]}, TypeError, "3"),
        (
            {"collectives": ["reduce_scatter"], "scaling": "aps:8", "wire": "e4m3"},
            ValueError,
            "'aps:8' is for all_reduce alone",
        ),
        (
            {"collectives": ["all_gather"], "accumulate": "exact", "wire": "int8"},
            ValueError,
            "'exact' is for all_reduce alone",
        ),
    ],
)
def test_what_is_not_allowed_of_calls(options, error, text):
    with pytest.raises(error, match=text):
        cpdcomm.Options(**options)


def test_a_context_is_checked_before_it_holds():
    with pytest.raises(ValueError, match="e9m9"), cpdcomm.options(wire="e9m9"):
        raise AssertionError("never reached")


@pytest.mark.parametrize("seed", ["7", 7.0, torch.tensor(7)])
def test_a_seed_is_an_int(seed):
    with pytest.raises(TypeError, match=f"seed is an int, not {type(seed).__name__}"):
        cpdcomm.Options(seed=seed)


def test_options_are_values():
    options = cpdcomm.Options(wire="e4m3", timeout=5)
    for twin in (copy.copy(options), copy.deepcopy(options), pickle.loads(pickle.dumps(options))):
        assert twin == options
    assert dataclasses.replace(options, wire="e5m2").wire == "e5m2"
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.wire = "e5m2"


def test_no_group():
    for call in (
        lambda: cpdcomm.all_reduce([torch.ones(3)]),
        lambda: cpdcomm.all_reduce([torch.ones(3)], wire="e4m3"),
        lambda: cpdcomm.stats(),
    ):
        with pytest.raises(ValueError, match="init_process_group"):
            call()


# --- the environment ------------------------------------------------------------------------------

PROGRAM = """
import torch, torch.distributed as dist, cpdcomm
options = {options}
dist.init_process_group("cpd", store=dist.HashStore(), rank=0, world_size=1,
                        pg_options=cpdcomm.Options(**options) if options else None)
x = torch.tensor([1.03, 0.001])
report = cpdcomm.all_reduce(x, **{call})
y = torch.tensor([1.03, 0.001])
dist.all_reduce(y)
print("RESULT", x.tolist() == {want}.tolist(), y.tolist() == {group}.tolist(), report.algorithm)
"""

INPUT = "torch.tensor([1.03, 0.001])"
E4M3, E5M2 = f"cpdcomm.quantize({INPUT}, 'e4m3')", f"cpdcomm.quantize({INPUT}, 'e5m2')"
PLAIN = {"scaling": "none"}


def run(program, **environment):
    """Without the least size of torch's own calls, so that small tensors show what is in force."""
    environment = {"CPDCOMM_MIN_BYTES": "0"} | environment
    return mpirun.run([warm.python(), "-c", program], 300.0, **environment)


def result(options, call, want, group, **environment):
    end = run(PROGRAM.format(options=options, call=call, want=want, group=group), **environment)
    assert end.code == 0, end.output
    line = next(line for line in end.output.splitlines() if line.startswith("RESULT"))
    assert line.split()[1:3] == ["True", "True"], end.output
    return line.split()[3], end.output


def test_the_environment_is_the_groups_default():
    e4m3 = {"CPDCOMM_WIRE": "e4m3", "CPDCOMM_SCALING": "none", "CPDCOMM_ALGORITHM": "ring"}
    algorithm, said = result({}, {}, E4M3, E4M3, CPDCOMM_DEBUG="info", **e4m3)
    assert algorithm == "ring"
    for words in (
        "wire=e4m3",
        "scaling=none",
        "algorithm=ring",
        "accumulate=wide",
        "rounding=nearest_even",
        "result=full",
        "seed=default",
        "min_bytes=0 collectives=all_reduce transport=auto",
        "a group of 1 ends: all_reduce: 2 calls, 2 compressed, 0 bytes sent",
    ):
        assert words in said, said


def test_options_win_over_the_environment():
    options = PLAIN | {"wire": "e4m3", "algorithm": "tree"}
    environment = {"CPDCOMM_WIRE": "e5m2", "CPDCOMM_ALGORITHM": "ring"}
    algorithm, _ = result(options, {}, E4M3, E4M3, **environment)
    assert algorithm == "tree"


def test_the_call_wins_over_all():
    call = PLAIN | {"wire": "e5m2", "algorithm": "direct"}
    algorithm, _ = result(
        PLAIN | {"wire": "e4m3"}, call, E5M2, E4M3, CPDCOMM_WIRE="e3m0", CPDCOMM_ALGORITHM="ring"
    )
    assert algorithm == "direct"


SUMS = """
import torch, torch.distributed as dist, cpdcomm
made = cpdcomm.Options(**{options}).over_environment().options
print("RESULT", made.accumulate, made.algorithm, made.across, made.inner, made.result)
"""


def test_how_sums_are_kept_by_the_environment():
    variables = {
        "CPDCOMM_WIRE": "int8",
        "CPDCOMM_ACCUMULATE": "exact",
        "CPDCOMM_ALGORITHM": "hierarchical",
        "CPDCOMM_ACROSS": "tree",
        "CPDCOMM_INNER": "wire",
        "CPDCOMM_RESULT": "wire",
    }
    end = run(SUMS.format(options={}), **variables)
    assert "RESULT exact hierarchical tree wire wire" in end.output, end.output
    options = {"across": "ring", "result": "full", "inner": "bf16"}
    end = run(SUMS.format(options=options), **variables)
    assert "RESULT exact hierarchical ring bf16 full" in end.output, end.output


ROUNDING = """
import torch, torch.distributed as dist, cpdcomm
x = torch.randn(1000)
first, second = x.clone(), x.clone()
want = cpdcomm.quantize(x, "e4m3", "stochastic", seed={seed})
dist.init_process_group("cpd", store=dist.HashStore(), rank=0, world_size=1,
                        pg_options=cpdcomm.Options(**{options}))
dist.all_reduce(first)
cpdcomm.all_reduce(second)
print("RESULT", torch.equal(first, want), torch.equal(first, second))
"""


@pytest.mark.parametrize(("options", "seed"), [({}, 42), ({"seed": 43}, 43)])
def test_rounding_of_the_environment(options, seed):
    """One rank's first sum has the words of quantize, its second others."""
    end = run(
        ROUNDING.format(options=options, seed=seed),
        CPDCOMM_WIRE="e4m3",
        CPDCOMM_SCALING="none",
        CPDCOMM_ROUNDING="stochastic",
        CPDCOMM_SEED="42",
    )
    assert "RESULT True False" in end.output, end.output


def test_unknown_variables_are_warned_about():
    known = {"CPDCOMM_WIER": "CPDCOMM_WIRE", "CPDCOMM_TIME_OUT": "CPDCOMM_TIMEOUT"}
    end = run("import cpdcomm; cpdcomm.Options()", **dict.fromkeys(known, "e4m3"))
    assert end.code == 0, end.output
    for wrong, right in known.items():
        line = next(line for line in end.output.splitlines() if wrong in line)
        assert right in line, line
    assert len(end.output.splitlines()) == 2, end.output


WRONG = [
    ("CPDCOMM_WIRE", "e9m9", "e9m9"),
    ("CPDCOMM_SCALING", "sometimes", "aps"),
    ("CPDCOMM_ACCUMULATE", "never", "kahan"),
    ("CPDCOMM_ALGORITHM", "dance", "ring"),
    ("CPDCOMM_SCALING", "delayed", "scale_memory"),
    ("CPDCOMM_ACROSS", "dance", "ring"),
    ("CPDCOMM_INNER", "e9m9", "e9m9"),
    ("CPDCOMM_RESULT", "half", "full"),
    ("CPDCOMM_ROUNDING", "up", "nearest_even"),
    ("CPDCOMM_SEED", "-1", "2^32"),
    ("CPDCOMM_SEED", "4294967296", "2^32"),
    ("CPDCOMM_TIMEOUT", "soon", "seconds"),
    ("CPDCOMM_TIMEOUT", "-3", "seconds"),
    ("CPDCOMM_TIMEOUT", "nan", "seconds"),
    ("CPDCOMM_DEBUG", "loud", "info"),
]
# The environment is read once a process: each value has a child of its own.
WRONG_VALUES = f"""
import os, sys, cpdcomm, torch, torch.distributed as dist

def told(call):
    try:
        call()
    except ValueError as error:
        print("told", error, flush=True)

for name, value, _ in {WRONG}:
    if os.fork() == 0:
        os.environ[name] = value
        told(cpdcomm.Options)
        told(lambda: dist.init_process_group("cpd", store=dist.HashStore(), rank=0, world_size=1))
        assert cpdcomm.float_quantize(torch.ones(1), 4, 3).item() == 1
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


def test_wrong_values_are_errors():
    """At the first use and at every other, never half in force; casts work all the same."""
    end = run(WRONG_VALUES)
    assert end.code == 0, end.output
    told = [line for line in end.output.splitlines() if line.startswith("told")]
    assert len(told) == 2 * len(WRONG), end.output
    for i, line in enumerate(told):
        assert all(words in line for words in WRONG[i // 2]), line
