"""cpd-allreduce-perf as people run it: its tables, its JSON, its complaints."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from mpirun import mpirun_command, run

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("cpd-allreduce-perf")
SCHEMA = json.loads((ROOT / "perf/schema/allreduce.schema.json").read_text())
FORMATS = ["fp32", "e5m2", "e3m0", "bfp8", "mxfp4", "int4"]
FAST = ["-n", "3", "-w", "1"]

# As scripts around nccl-tests read it: its thirteen columns, then whatever else.
NCCL_ROW = re.compile(
    r"^ +(?P<size>\d+) +(?P<count>\d+) +(?P<type>\w+) +(?P<redop>\w+) +(?P<root>-?\d+)"
    r" +(?P<time>[\d.e+-]+) +(?P<algbw>[\d.e+-]+) +(?P<busbw>[\d.e+-]+) +(?P<wrong>\d+)"
    r" +N/A +N/A +N/A +N/A .*"
)


def perf(ranks, *arguments, timeout=300.0, **environment):
    assert PROGRAM.exists(), "scripts/setup puts the program beside Python"
    return run([*mpirun_command(ranks), PROGRAM, *arguments], timeout, **environment)


def measured(ranks, path, *arguments):
    """The JSON of a run that succeeds."""
    finished = perf(ranks, *FAST, "-J", path, *arguments)
    assert finished.code == 0, finished.output
    record = json.loads(path.read_text())
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    return record


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("perf") / "run.json"
    wires = ",".join(FORMATS)
    arguments = ["--wire", wires, "--algorithm", "direct,ring", "--baseline", "mpi,ring,direct"]
    return measured(3, path, "-b", "1K", "-e", "64K", "-f", "8", *arguments)


def test_every_size_and_contender_has_one_result(record):
    keys = [(r["size"], r["wire"], r["algorithm"]) for r in record["results"]]
    assert len(keys) == len(set(keys)) == 3 * (1 + 2 * len(FORMATS))
    assert {r["size"] for r in record["results"]} == {1024, 8192, 65536}
    assert {r["algorithm"] for r in record["results"]} == {"mpi", "direct", "ring"}
    assert all(r["iterations"] == len(r["times_us"]) == 3 for r in record["results"])


def test_figures_follow_from_each_other(record):
    for r in record["results"]:
        assert r["count"] * 4 == r["size"] and r["ranks"] == 3
        assert r["time_us"] == pytest.approx(np.median(r["times_us"]))
        assert r["time_us_min"] == min(r["times_us"]) and r["time_us_p99"] == max(r["times_us"])
        assert r["algbw"] == pytest.approx(r["size"] / r["time_us"] / 1e3)
        assert r["busbw"] == pytest.approx(r["algbw"] * 4 / 3)
        same_size = [o for o in record["results"] if o["size"] == r["size"]]
        best = min(o["time_us"] for o in same_size if o["wire"] == "fp32")
        assert r["gain"] == pytest.approx(best / r["time_us"])


def test_sums_are_right_and_lose_what_their_bits_lose(record):
    last = {
        r["wire"]: r for r in record["results"] if r["size"] == 65536 and r["algorithm"] == "ring"
    }
    assert all(r["wrong"] == 0 and r["checked_against"] == "bits" for r in last.values())
    assert last["fp32"]["rel_rms"] < 1e-7 < last["bfp8"]["rel_rms"] < last["e5m2"]["rel_rms"]
    assert last["e5m2"]["rel_rms"] < last["mxfp4"]["rel_rms"] < last["e3m0"]["rel_rms"] < 1
    assert all(0 < r["max_error"] < 10 for r in last.values())
    of_mpi = [r for r in record["results"] if r["algorithm"] == "mpi"]
    assert all(r["checked_against"] == "bound" and r["wire_bytes"] is None for r in of_mpi)


def test_wire_bytes(record):
    bits = {"fp32": 32, "e5m2": 8, "e3m0": 4, "bfp8": 8 + 1 / 8, "mxfp4": 4 + 1 / 4, "int4": 4.0625}
    for r in record["results"]:
        if r["algorithm"] == "mpi" or r["size"] < 65536:
            continue
        least = 2 * 2 / 3 * r["count"] * bits[r["wire"]] / 8
        assert least <= r["wire_bytes"] <= 1.02 * least + 1000
        assert r["wire_bytes_max"] >= r["wire_bytes"]


def test_parsers_of_nccl_tests_read_the_table():
    finished = perf(2, *FAST, "-b", "4K", "-e", "16K", "-f", "2", "--wire", "e4m3,e3m0")
    assert finished.code == 0, finished.output
    rows = [line for line in finished.output.splitlines() if line and not line.startswith("#")]
    found = [NCCL_ROW.match(row) for row in rows]
    assert all(found) and len(found) == 3 * 3
    assert [int(row["size"]) for row in found[::3]] == [4096, 8192, 16384]
    assert {row["type"] for row in found} == {"float"} and {row["wrong"] for row in found} == {"0"}
    assert re.search(r"^# Out of bounds values : 0 OK$", finished.output, re.M)
    assert re.search(r"^# Avg bus bandwidth    : [\d.e+-]+ $", finished.output, re.M)


def test_every_choice_of_a_contender_has_a_column():
    choices = ["--wire", "e4m3", "--rounding", "nearest_even,stochastic", "--baseline", "none"]
    finished = perf(2, *FAST, "-b", "4k", "-e", "4k", *choices)
    rows = [line.split() for line in finished.output.splitlines() if line and line[0] != "#"]
    assert [row[13:18] for row in rows] == [
        ["e4m3", "direct", "wide", "aps", rounding] for rounding in ["nearest_even", "stochastic"]
    ]


def test_in_place_fills_the_other_columns():
    finished = perf(2, *FAST, "-b", "4K", "-e", "4K", "--in-place", "--wire", "e4m3")
    rows = [line.split() for line in finished.output.splitlines() if line and line[0] != "#"]
    assert all(row[5:9] == ["N/A"] * 4 and float(row[9]) > 0 for row in rows) and len(rows) == 2


def test_csv_says_what_the_json_says(tmp_path):
    finished = perf(2, *FAST, "-b", "4K", "-e", "8K", "-f", "2", "--format", "csv")
    assert finished.code == 0, finished.output
    lines = [line for line in finished.output.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    names = set(SCHEMA["properties"]["results"]["items"]["properties"]) - {"times_us"}
    assert all(set(row) == names and None not in row.values() for row in rows)
    assert [row["wire"] for row in rows] == ["fp32", "fp32", "e5m2", "e4m3", "e3m0"] * 2
    assert all(float(row["time_us"]) > 0 and row["wrong"] == "0" for row in rows)


def test_json_on_stdout_and_in_a_file(tmp_path):
    path = tmp_path / "out.json"
    finished = perf(2, *FAST, "-b", "4K", "-e", "4K", "--format", "json", "-J", path)
    printed = json.loads(finished.output)
    jsonschema.validate(printed, SCHEMA)
    assert printed == json.loads(path.read_text())


def test_osu_columns():
    finished = perf(
        2, *FAST, "-b", "4K", "-e", "8K", "-f", "2", "--format", "osu", "--wire", "e4m3"
    )
    rows = [line.split() for line in finished.output.splitlines() if line and line[0] != "#"]
    assert [int(row[0]) for row in rows] == [4096, 8192] * 2  # mpi, then e4m3
    assert all(float(low) <= float(mean) <= float(high) for _, mean, low, high, _ in rows)
    assert finished.output.count("# OSU MPI Allreduce Latency Test") == 2


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("results of a long night")
    (tmp_path / "out.json.1").write_text("and another")
    finished = perf(2, *FAST, "-b", "4K", "-e", "4K", "--wire", "e4m3", "-J", path)
    assert f"# Writing JSON output to {path}.2" in finished.output
    assert path.read_text() == "results of a long night"
    assert len(json.loads((tmp_path / "out.json.2").read_text())["results"]) == 2


def test_gradients_come_with_the_program(tmp_path):
    record = measured(2, tmp_path / "g.json", "-b", "64K", "-e", "64K", "--input", "gradients")
    assert "gradients" in record["input"]
    # Gradients are small; normal random numbers are not.
    assert all(r["max_error"] < 0.05 and r["wrong"] == 0 for r in record["results"])


def test_values_from_a_file(tmp_path):
    np.save(tmp_path / "ones.npy", np.ones(10, np.float32))
    options = ["-b", "4K", "-e", "4K", "--wire", "e4m3", "--input", tmp_path / "ones.npy"]
    record = measured(3, tmp_path / "out.json", *options)
    assert [r["max_error"] for r in record["results"]] == [0, 0]


@pytest.mark.parametrize("kind", ["half", "bfloat16", "double"])
def test_types(kind, tmp_path):
    options = ["-d", kind, "-b", "64K", "-e", "64K", "--wire", "fp32,e4m3", "-o", "avg"]
    record = measured(2, tmp_path / "out.json", *options)
    assert {r["type"] for r in record["results"]} == {kind}
    assert all(r["wrong"] == 0 for r in record["results"])
    wires = [r["wire"] for r in record["results"]]
    assert wires == (["fp64", "fp64"] if kind == "double" else ["fp32", "e4m3"])
    assert len(record["left_out"]) == 1


def test_what_cannot_be_is_left_out(tmp_path):
    options = ["--wire", "e4m3,bfp8", "--scaling", "none,aps", "--accumulate", "wide,kahan"]
    record = measured(2, tmp_path / "out.json", "-b", "4K", "-e", "4K", *options)
    assert len(record["results"]) == 1 + 4 + 1
    assert len(record["left_out"]) == 3
    assert all("bfp8" in one["contender"] and one["reason"] for one in record["left_out"])


def test_stochastic_sums_are_the_same_on_all_ranks(tmp_path):
    options = ["--wire", "e4m3", "--rounding", "stochastic", "--baseline", "none"]
    (result,) = measured(2, tmp_path / "out.json", "-b", "4K", "-e", "4K", *options)["results"]
    assert result["checked_against"] == "ranks" and result["wrong"] == 0
    assert result["gain"] is None and 0 < result["rel_rms"] < 0.2


@pytest.mark.parametrize("kind", ["float", "half", "bfloat16"])
def test_fp32_has_no_random_casts(kind, tmp_path):
    options = ["-d", kind, "--wire", "fp32", "--rounding", "stochastic", "--baseline", "none"]
    (result,) = measured(3, tmp_path / "out.json", "-b", "4K", "-e", "4K", *options)["results"]
    assert result["checked_against"] == "bits" and result["wrong"] == 0


ALGORITHMS = "direct,ring,tree,halving_doubling,hierarchical"


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_bit_of_integer_sums_is_predicted(ranks, tmp_path):
    options = ["--wire", "bfp8,int4:64,sign", "--accumulate", "exact,majority"]
    options += ["--result", "full,wire", "--algorithm", ALGORITHMS, "-c", "2"]
    record = measured(ranks, tmp_path / "o.json", "-b", "20K", "-e", "20K", *options)
    results = [r for r in record["results"] if r["algorithm"] != "mpi"]
    exact = [r for r in results if r["accumulate"] == "exact"]
    assert all(r["checked_against"] == "bits" and r["wrong"] == 0 for r in results)
    assert {r["result"] for r in exact} == {"full", "wire"}
    assert {r["scaling"] for r in exact} == {"aps"}
    # One sum, whatever the algorithm: then one error, too.
    for wire in ("bfp8", "int4:64"):
        for result in ("full", "wire"):
            same = [r for r in exact if r["wire"] == wire and r["result"] == result]
            assert {r["algorithm"] for r in same} == set(ALGORITHMS.split(","))
            assert len({r["max_error"] for r in same}) == 1
    votes = [r for r in results if r["accumulate"] == "majority"]
    assert len(votes) == 5 and {r["result"] for r in votes} == {None}


@pytest.mark.parametrize("operator", ["sum", "avg"])
@pytest.mark.parametrize("kind", ["float", "half", "bfloat16"])
def test_integer_sums_of_types_and_averages(kind, operator, tmp_path):
    options = ["-d", kind, "-o", operator, "--wire", "int8", "--accumulate", "exact"]
    options += ["--baseline", "none", "--result", "full,wire", "-b", "8K", "-e", "8K"]
    results = measured(3, tmp_path / "o.json", *options)["results"]
    assert [(r["checked_against"], r["wrong"]) for r in results] == [("bits", 0)] * 2


def test_hierarchical_has_inner_formats_and_algorithms_between_hosts(tmp_path):
    options = ["--algorithm", "hierarchical,ring", "--across", "direct,ring", "--baseline", "none"]
    options += ["--inner", "fp32,wire", "--wire", "fp32,e4m3", "-b", "8K", "-e", "8K"]
    results = measured(3, tmp_path / "o.json", *options)["results"]
    found = {(r["wire"], r["algorithm"], r["across"], r["inner"]) for r in results}
    hosts = [("hierarchical", a, i) for a in ("direct", "ring") for i in ("fp32", "wire")]
    each = [*hosts, ("ring", None, None)]
    assert found == {(wire, *one) for wire in ("fp32", "e4m3") for one in each}
    against = {(r["wire"], r["algorithm"]): r["checked_against"] for r in results}
    assert against["fp32", "hierarchical"] == "bound" and against["e4m3", "ring"] == "bits"
    assert against["e4m3", "hierarchical"] == "ranks"
    assert all(r["wrong"] == 0 for r in results)


def test_delayed_scaling_remembers_from_call_to_call(tmp_path):
    options = ["--scaling", "aps,delayed", "--wire", "e4m3", "--algorithm", "direct,ring"]
    options += ["-b", "8K", "-e", "8K", "-c", "3", "--baseline", "none"]
    results = measured(2, tmp_path / "o.json", *options)["results"]
    assert all(r["checked_against"] == "bits" and r["wrong"] == 0 for r in results)
    # Later calls send no exponents ahead: that saves a message.
    sent = {(r["algorithm"], r["scaling"]): r["wire_bytes"] for r in results}
    assert sent["direct", "delayed"] < sent["direct", "aps"]


def test_automatic_tells_what_was_taken(tmp_path):
    options = ["--algorithm", "automatic", "--wire", "fp32,e4m3", "-b", "1K", "-e", "1K"]
    for r in measured(2, tmp_path / "o.json", *options)["results"]:
        ours = r["algorithm"] != "mpi"
        assert (r["compressed"] is not None) == (r["algorithm_taken"] is not None) == ours
        assert r["algorithm_taken"] != "automatic"


def test_time_in_codecs_and_in_waiting(tmp_path):
    path = tmp_path / "o.json"
    arguments = ["-b", "1M", "-e", "1M", "--wire", "e4m3", "--algorithm", "ring", "-J", path]
    finished = perf(2, *FAST, *arguments, "--breakdown")
    of_mpi, ours = json.loads(path.read_text())["results"]
    assert of_mpi["codec_us"] is None and of_mpi["wait_us"] is None
    assert 0 < ours["codec_us"] < ours["time_us_p99"] and ours["wait_us"] >= 0
    rows = [line.split() for line in finished.output.splitlines() if line and line[0] != "#"]
    assert rows[0][-2:] == ["-", "-"] and float(rows[1][-2]) > 0


def test_threads_and_no_shared_memory(tmp_path):
    options = ["--codec-threads", "2", "--shared-memory", "off", "--wire", "e4m3", "-b", "1M"]
    record = measured(2, tmp_path / "o.json", *options, "-e", "1M", "--algorithm", "direct,ring")
    assert record["options"]["codec-threads"] == "2" and record["options"]["shared-memory"] == "off"
    assert [r["wrong"] for r in record["results"]] == [0] * 3


def test_ucx_carries_the_same_sums(tmp_path):
    options = ["--transport", "ucx", "--wire", "fp32,e4m3", "-b", "64K", "-e", "64K"]
    finished = perf(2, *FAST, *options, "-J", tmp_path / "o.json")
    if "built without UCX" in finished.output:
        assert finished.code == 2
        pytest.skip("the program was built without UCX")
    assert finished.code == 0, finished.output
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["transport"] == "ucx"
    assert [r["wrong"] for r in record["results"]] == [0] * 3


MPICH_PROGRAM = PROGRAM.with_name("cpd-mpich-perf")
HYDRA = shutil.which("mpiexec.hydra")


@pytest.mark.skipif(HYDRA is None or not MPICH_PROGRAM.exists(), reason="MPICH is not there")
def test_mpich_writes_the_same_json(tmp_path):
    arguments = ["-b", "1024", "-e", "65536", "-f", "8", "-n", "3", "-J", tmp_path / "o.json"]
    finished = run([HYDRA, "-n", "3", MPICH_PROGRAM, *arguments], 300.0)
    assert finished.code == 0, finished.output
    record = json.loads((tmp_path / "o.json").read_text())
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert record["mpi"].startswith("MPICH")
    found = [(r["size"], r["ranks"], r["wrong"]) for r in record["results"]]
    assert found == [(1024, 3, 0), (8192, 3, 0), (65536, 3, 0)]
    for r in record["results"]:
        assert r["time_us"] == pytest.approx(np.median(r["times_us"]), abs=1e-2)
        assert r["time_us_p99"] == max(r["times_us"]) and r["iterations"] == 3


@pytest.mark.skipif(HYDRA is None or not MPICH_PROGRAM.exists(), reason="MPICH is not there")
@pytest.mark.parametrize("words", [["-b", "2"], ["-n", "x"], ["--what", "1"], ["-J", "/no/o.json"]])
def test_mistakes_with_mpich_end_it(words):
    finished = run([HYDRA, "-n", "2", MPICH_PROGRAM, *words], 300.0)
    assert finished.code != 0 and "cpd-mpich-perf: " in finished.output
    assert words[0] in finished.output or words[1] in finished.output


SPECIAL = {
    "subnormal": np.tile(np.float32([1, 2, -3, 5]), (3, 1)) * np.float32(1.5e-45),
    "large": np.float32([[3e38, 3e38, -3e38], [3e38, -3e38, 1], [-3e38, 3e38, 1]]),
    "not finite": np.float32([[np.nan, np.inf, 1], [1, -np.inf, -np.inf], [1, 1, 1]]),
    "zero": np.float32([[-0.0, 0.0, -0.0], [-0.0, -0.0, 0.0], [-0.0, 0.0, 0.0]]),
}


@pytest.mark.parametrize("operator", ["sum", "avg"])
@pytest.mark.parametrize("values", SPECIAL.values(), ids=SPECIAL.keys())
def test_right_sums_of_special_values_are_right(values, operator, tmp_path):
    np.save(tmp_path / "values.npy", values)
    options = ["-b", "4K", "-e", "4K", "-o", operator, "--wire", "fp32,e4m3,mxfp4,bfp8,sign"]
    options += ["--accumulate", "wide,exact,majority", "--scaling", "automatic,delayed", "-c", "2"]
    record = measured(3, tmp_path / "out.json", *options, "--input", tmp_path / "values.npy")
    expected = 1 + 1 + 2 + 1 + 2 + 1 + (operator == "sum")  # majority has no average
    assert [r["wrong"] for r in record["results"]] == [0] * expected


def test_no_checks(tmp_path):
    options = ["-b", "4K", "-e", "4K", "-c", "0", "--wire", "e4m3"]
    for result in measured(2, tmp_path / "out.json", *options)["results"]:
        assert result["wrong"] is None and result["rel_rms"] is None


def test_time_limit_means_fewer_iterations(tmp_path):
    finished = perf(
        2, "-n", "100000", "--time-limit", "0.2", "-b", "4M", "-e", "4M", "-J", tmp_path / "o.json"
    )
    assert finished.code == 0, finished.output
    results = json.loads((tmp_path / "o.json").read_text())["results"]
    assert len({r["iterations"] for r in results}) == 1
    assert 3 <= results[0]["iterations"] < 1000


WRONG = {
    "--wire": [("e4m3,foo", "foo"), ("none,e4m3", "none"), ("", "")],
    "--algorithm": [("rong", "rong"), ("ring direct", "ring direct")],
    "--scaling": [("aps:7", "aps:7")],
    "-b": [
        ("12Q", "12Q"),
        ("12Q", "--minbytes"),
        ("-5", "-5"),
        ("64M", "67108864"),
        ("nan", "nan"),
    ],
    "-f": [("0", "0")],
    "-n": [("0", "0")],
    "-d": [("int7", "int7"), ("0", "bfloat16,double,float,half")],
    "--format": [("x", "csv,json,osu,table")],
    "--time-limit": [("0", "0.001"), ("nan", "nan")],
    "--timeout": [("nan", "nan"), ("5x", "5x")],
    "--input": [("/no/such.npy", "/no/such.npy"), ("", "''")],
    "-J": [("/no/such/out.json", "/no/such/out.json"), ("", "''")],
    "-e": [("100G", "107374182400"), ("1e15G", "1e15G")],
    "-i": [("0", "0")],
    "--baseline": [("gloo", "gloo")],
    "--transport": [("tcp", "mpi,ucx")],
    "--shared-memory": [("maybe", "off,on")],
    "--codec-threads": [("-1", "-1"), ("x", "x")],
    "--result": [("half", "full")],
    "--inner": [("foo", "foo")],
    "--across": [("rong", "rong")],
    "--frobnicate": [("1", "--frobnicate")],
    # Of nccl-tests' own, what would mean another measurement.
    "-g": [("8", "--ngpus: 8 is not allowed, only 1"), ("8", "mpirun -n")],
    "--nthreads": [("2", "2 is not allowed, only 1")],
    "-m": [("20", "only 1")],
    "-N": [("0", "only 1")],
    "-z": [("2", "only 0, 1, 3")],
    "-G": [("1", "CUDA graphs")],
    "-C": [("1", "only 0")],
    "-R": [("2", "2 is not allowed")],
    "-D": [("1", "--device_implementation")],
    "-r": [("3", "no root")],
    "-o": [("prod", "sum,avg")],
    "-T": [("-1", "-1"), ("x", "x")],
}


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [(flag, value, named) for flag, cases in WRONG.items() for value, named in cases],
)
def test_mistakes_are_explained_once(flag, value, named):
    limits = ["-i", "1G"] if flag == "-e" else []
    finished = perf(2, *limits, flag, value)
    assert finished.code == 2, finished.output
    said = finished.output.split("-----")[0]  # what follows is mpirun's
    assert named in said and len(said.splitlines()) <= 4, said


def test_what_no_machine_can_do_is_refused_at_once():
    sizes = perf(2, "-b", "0", "-e", "1000000G", "-i", "1", "--baseline", "none", timeout=100.0)
    assert sizes.code == 2 and "allowed are 10000" in sizes.output
    memory = perf(2, "-b", "1K", "-e", "1048576G", "-f", "1048576", "--baseline", "none")
    assert memory.code == 2 and "two vectors on each of the 2 ranks" in memory.output


def test_a_file_that_can_no_longer_be_written_ends_all_ranks(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    arguments = ["-b", "4M", "-e", "64M", "-f", "2", "-n", "1000", "--time-limit", "1"]
    command = [str(x) for x in [*mpirun_command(3), PROGRAM, *arguments, "-J", folder / "o.json"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            if b"Using ranks" in line:
                break
        shutil.rmtree(folder)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 2 and b"cannot write all of" in output


def test_results_that_cannot_be_printed_are_no_success():
    with open("/dev/full", "w") as full:
        finished = subprocess.run([PROGRAM, "-b", "4K", "-e", "4K", *FAST], stdout=full)
    assert finished.returncode == 2


# The ends of command lines that people publish with their figures, and nccl-tests' own defaults.
OF_NCCL_TESTS = [
    "-b 8 -e 4K -f 2 -g 1 -t 1",
    "-b 1K -e 1K -g 1 -c 1 -w 1 -G 0 -C 0 -a 1",
    "-b 1K -e 3K -i 1K -f 1 -p 1 -z 1 -m 1 -N 1 -o sum -d float -r 0 -T 0",
    "--minbytes 1K --maxbytes 1K --ngpus 1 --nthreads 1 --parallel_init 0 --blocking 0",
]


@pytest.mark.parametrize("words", OF_NCCL_TESTS)
def test_command_lines_of_nccl_tests_run_as_they_are(words):
    finished = perf(2, "-n", "3", *words.split(), "--wire", "none")
    assert finished.code == 0, finished.output


def test_help_names_what_is_taken_of_nccl_tests_and_all_of_it_is():
    said = perf(1, "--help").output
    begin = said.index("nccl-tests' other options")
    named = said[begin : said.index("columns, after", begin)]
    found = re.findall(r"(-\w) ([\w|]+)", named.split(":", 1)[1])
    assert {"-g", "-t", "-m", "-p", "-G", "-C", "-z", "-D"} <= {flag for flag, _ in found}
    for last in (0, -1):
        words = [word for flag, text in found for word in (flag, text.split("|")[last])]
        finished = perf(1, *FAST, "-b", "1K", "-e", "1K", "--wire", "none", *words)
        assert finished.code == 0, finished.output


def test_help_comes_once():
    finished = perf(3, "--help")
    assert finished.code == 0
    assert finished.output.count("exit codes:") == 1
    names = SCHEMA["properties"]["results"]["items"]["properties"]
    assert {"rel_rms", "max_error"} < set(names) and "rel_rms" in finished.output


def has_terminals():
    """Whether script(1) can give a program a terminal here."""
    if shutil.which("script") is None:
        return False
    try:
        first, second = os.openpty()
    except OSError:
        return False
    os.close(first)
    os.close(second)
    return True


@pytest.mark.skipif(not has_terminals(), reason="needs script(1) and pseudo-terminals")
def test_a_terminal_shows_progress(tmp_path):
    command = " ".join(
        str(word) for word in [*mpirun_command(2), PROGRAM, "-b", "16M", "-e", "16M"]
    )
    finished = run(["script", "-qec", command, tmp_path / "typescript"], 300.0)
    assert finished.code == 0, finished.output
    assert re.search(r"# 16 MiB  \S.*iteration \d+ of 20", finished.output)


def test_without_a_terminal_there_is_no_progress():
    finished = perf(2, *FAST, "-b", "16M", "-e", "16M", "--wire", "e4m3")
    assert "iteration" not in finished.output and "\x1b" not in finished.output
