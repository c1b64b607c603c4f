"""The all-reduce of gloo as a peer: two local processes, the schema, and its checks."""

import argparse
import json
import os
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
import torch.distributed as dist

from cpdperf.peers import gloo
from cpdperf.sweep.network import Host, Program

ROOT = Path(__file__).resolve().parents[2]


def launch(folder, *words, ranks=2):
    """Runs the peer on this host; returns the exit code and what it said."""
    command = [sys.executable, "-m", "cpdperf.peers.gloo", *map(str, words)]
    environment = {"PYTHONPATH": str(ROOT / "perf"), "OMP_NUM_THREADS": "1"}
    code = Host(ranks).run(Program(command, "each", environment), folder / "output", 300)
    return code, (folder / "output").read_text()


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    words = ["-b", "1K", "-e", "256K", "-f", "16", "-n", "5", "-J", folder / "gloo.json"]
    code, said = launch(folder, *words)
    assert code == 0, said
    return json.loads((folder / "gloo.json").read_text())


def test_results_follow_the_schema(document):
    schema = json.loads((ROOT / "perf" / "schema" / "allreduce.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document["mpi"] is None and document["transport"] == "gloo"
    assert document["machine"]["ranks"] == 2 and len(document["machine"]["hosts"]) == 2


def test_both_types_at_each_size(document):
    found = [(row["size"], row["count"], row["wire"]) for row in document["results"]]
    sizes = [1024, 16384, 262144]
    assert found == [(size, size // 4, wire) for size in sizes for wire in ("fp32", "bf16")]
    for row in document["results"]:
        assert row["iterations"] == len(row["times_us"]) == 5
        assert row["time_us"] == pytest.approx(float(np.median(row["times_us"])))


def test_errors_are_those_of_the_type(document):
    for row in document["results"]:
        assert row["wrong"] == 0 and row["checked_against"] == "bound"
        if row["wire"] == "fp32":
            assert 0 < row["rel_rms"] < 2.0**-24
        else:
            assert 2.0**-11 < row["rel_rms"] < 2.0**-8
            assert row["max_error"] > row["rel_rms"]


def test_a_time_limit_leaves_three_iterations_at_least(tmp_path):
    words = ["-b", "4M", "-n", "1000", "-c", "0", "--time-limit", "0.001", "-J", tmp_path / "j"]
    code, said = launch(tmp_path, *words)
    assert code == 0, said
    rows = json.loads((tmp_path / "j").read_text())["results"]
    assert [row["iterations"] for row in rows] == [3, 3]
    assert [row["wrong"] for row in rows] == [None, None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-J", __file__], "exists; nothing is overwritten"),
        (["--input", "nothing.npy"], "--input nothing.npy: 'random' or a readable .npy file"),
        (["-b", "1M", "-e", "1K"], "last size 1K: at least the first, 1M"),
        (["--wire", "e4m3"], "'e4m3': gloo sums fp32 or bf16"),
    ],
)
def test_mistakes_are_found_before_the_ranks_join(words, message, monkeypatch, capsys):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["gloo", *words])
    try:
        code = gloo.main()
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_without_a_launcher(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gloo"])
    monkeypatch.delenv("RANK", raising=False)
    assert gloo.main() == 2
    assert "RANK is not set: start it with torchrun" in capsys.readouterr().err


@pytest.fixture
def alone(tmp_path):
    """A group of one rank in this process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("wire", ["fp32", "bf16"])
def test_wrong_values_are_counted(alone, wire):
    inputs = gloo.Inputs("random", seed=1, ranks=1)
    part = inputs.whole(0, 100_000).to(gloo.TYPES[wire][0])
    contender = gloo.Contender(wire, part)
    gloo.check(contender, part.clone(), inputs)
    assert contender.errors["wrong"] == 0
    spoilt = part.clone()
    spoilt[[0, 70_000]] += 0.5
    spoilt[99_999] = float("nan")
    gloo.check(contender, spoilt, inputs)
    assert contender.errors["wrong"] == 3
    assert contender.errors["rel_rms"] is None  # a NaN has no error


def test_a_wrong_result_is_an_exit_code(alone, monkeypatch, capsys):
    right = dist.all_reduce
    calls = []

    def spoiling(tensor, *words, **named):
        right(tensor, *words, **named)
        if tensor.dtype == torch.bfloat16:
            calls.append(tensor)
            tensor[7] += 1

    monkeypatch.setattr(dist, "all_reduce", spoiling)
    options = argparse.Namespace(
        **{"minbytes": 1024, "maxbytes": None, "stepfactor": 4, "iters": 2, "warmup_iters": 1},
        **{"check": 1, "wire": ["fp32", "bf16"], "time_limit": None, "output_file": None},
    )
    assert gloo.run(options, gloo.Inputs("random", 1, 1)) == 1
    assert calls and capsys.readouterr().out.splitlines()[-1].endswith(" 1")


def test_arrays_are_laid_out_as_cpd_allreduce_perf_does(tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "two.npy", rows)
    np.save(tmp_path / "one.npy", np.arange(4, dtype=np.float64))
    two = gloo.Inputs(str(tmp_path / "two.npy"), 1, ranks=3)
    assert [list(two.block(rank, 0, 7)) for rank in range(3)] == [
        [0, 1, 2, 3, 4, 5, 0],
        [3, 4, 5, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5, 0],
    ]
    one = gloo.Inputs(str(tmp_path / "one.npy"), 1, ranks=2)
    assert [list(one.block(rank, 0, 5)) for rank in range(2)] == [
        [0, 1, 2, 3, 0],
        [2, 3, 0, 1, 2],
    ]


def test_random_parts_differ_between_ranks_and_blocks_but_not_between_runs():
    inputs, again = gloo.Inputs("random", 1, 2), gloo.Inputs("random", 1, 2)
    block = gloo.BLOCK
    assert (inputs.block(0, block, 100) == again.whole(0, block + 100).numpy()[block:]).all()
    for other in (inputs.block(1, block, 100), inputs.block(0, 0, 100)):
        assert not (inputs.block(0, block, 100) == other).any()


def test_a_rank_has_a_core_of_its_own(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core only")
    # One write for each rank: print() may use two, between which the other's can fall.
    show = (
        "import os; rank = os.environ['RANK']; "
        "os.write(1, f'{rank} {sorted(os.sched_getaffinity(0))}\\n'.encode())"
    )
    code = Host(2).run(Program([sys.executable, "-c", show], "each"), tmp_path / "output", 300)
    cores = sorted(os.sched_getaffinity(0))
    said = sorted((tmp_path / "output").read_text().splitlines())
    assert code == 0 and said == [f"0 [{cores[0]}]", f"1 [{cores[1]}]"]
