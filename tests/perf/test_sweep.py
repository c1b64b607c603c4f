"""The sweep: its plan, its runs with a program that makes up times, and its statistics."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from cpdperf.lab import Interrupted
from cpdperf.sweep import (
    command_line,
    launches,
    matrix,
    network,
    never_slower,
    options,
    plans,
    statistics,
    targets,
)
from cpdperf.sweep.bits import bits_of
from cpdperf.sweep.estimate import Estimate
from cpdperf.sweep.folder import RunFolder
from cpdperf.sweep.matrix import Contenders, Effort, Place
from cpdperf.sweep.plan import Plan, plan_from
from cpdperf.sweep.processes import TIMED_OUT, run_together
from cpdperf.sweep.progress import format_duration
from cpdperf.sweep.sizes import SizeRange, format_size, parse_size

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "perf" / "sweep_fake.py"
SMALL = ["--networks", "1gbit", "--ranks", "4", "--sizes", "1K:16K", "--wires", "fp32,e4m3"]
SMALL += ["--program", str(FAKE), "--launches", "2", "--iterations", "5"]
SOON = 120  # seconds, on a busy machine
LAUNCHES = 6  # of SMALL: two of each of three kinds


class FakeNetwork:
    """Runs a program once, as rank 0; the fake program stands for gloo, too."""

    started: list[str] = []
    interrupt_at: str | None = None

    def __init__(self, place):
        self.place = place

    def run(self, program, output, limit):
        words = program.command
        name = Path(words[words.index("-J") + 1]).name
        self.started.append(name.removeprefix(".").removesuffix(".result"))
        if self.interrupt_at == self.started[-1]:
            raise Interrupted(signal.SIGINT)
        if program.launcher == "each":
            words = [str(FAKE), *words[3:]]
        environment = {**os.environ, **program.environment}
        environment["OMPI_COMM_WORLD_SIZE"] = str(self.place.ranks)
        return run_together([(words, environment)], output, limit)


@contextlib.contextmanager
def fake_network(place):
    yield FakeNetwork(place)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(FakeNetwork, "started", [])
    for name in [name for name in os.environ if name.startswith(("FAKE_", "OMPI_", "CPDCOMM_"))]:
        monkeypatch.delenv(name)


def sweep(folder, *more):
    return command_line.main([*SMALL, "--run-dir", str(folder), *more], fake_network)


def result(folder):
    return json.loads((folder / "sweep.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert sweep(folder) == 0
    return folder


# --- the plan -------------------------------------------------------------------------------------


def test_sizes():
    assert parse_size("64M") == 64 * 1024**2 and parse_size("1000") == 1000
    assert [format_size(size) for size in (1000, 1024, 1 << 20, 3 << 30)] == [
        *("1000", "1K", "1M", "3G")
    ]
    assert SizeRange.parse("1K:64M").sizes() == [1024 * 4**i for i in range(9)]
    assert SizeRange.parse("1K:10K:2").sizes() == [1024, 2048, 4096, 8192]
    assert SizeRange.parse("1M").sizes() == [1 << 20]
    for text in ("1K:64M", "1M", "4:100:3"):
        assert SizeRange.parse(str(SizeRange.parse(text))) == SizeRange.parse(text)


@pytest.mark.parametrize("text", ["", "1X", "2K:1K", "1K:2K:1", "1K:2K:x", "3", "0", "1:2:3:4"])
def test_sizes_that_are_not_allowed(text):
    with pytest.raises(ValueError, match="size|factor"):
        SizeRange.parse(text)


@pytest.mark.parametrize(
    ("wire", "bits"),
    [
        *[("fp32", 32), ("bf16", 16), ("e4m3", 8), ("e3m0", 4), ("e4m3fn", 8), ("e2m1fn", 4)],
        *[("bfp8", 8.125), ("bfp8:32", 8.25), ("mxfp4", 4.25), ("mxfp8e4m3", 8.25)],
        *[("mxint8", 8.25), ("int4", 4.0625), ("int4:128", 4.25), ("sign", 1.0625)],
    ],
)
def test_bits(wire, bits):
    assert bits_of(wire) == bits


def test_kinds_take_turns_in_each_place():
    places = tuple(Place(network, 2, SizeRange(1024, 1024)) for network in ("1gbit", "host"))
    names = [one.name for one in Plan(places, Contenders(("fp32",)), Effort(2)).launches()]
    kinds = ("cpd", "openmpi-ring", "gloo")
    assert names == [
        f"{net}-2-{kind}-{n}" for net in ("1gbit", "host") for n in (0, 1) for kind in kinds
    ]


def test_the_default_is_a_part_of_the_matrix_within_40_minutes():
    plan = options.plan_of(options.parse_sweep([]))
    assert {place.network for place in plan.places} == set(matrix.NETWORKS)
    assert {place.ranks for place in plan.places} == {2, 3, 4, 8}
    assert plan.effort.launches == 3
    estimate = Estimate(plan, cores=4)
    assert 10 * 60 < estimate.total(plan.launches()) < 40 * 60


def test_full_is_everything():
    plan = options.plan_of(options.parse_sweep(["--full"]))
    assert len(plan.places) == 4 * 4
    assert all(place.sizes.sizes()[-1] == 64 << 20 for place in plan.places)


def test_a_plan_has_the_settings_that_it_was_made_from():
    plan = options.plan_of(options.parse_sweep(["--full", "--baselines", "gloo"]))
    assert plan_from(json.loads(json.dumps(plan.settings()))) == plan


def test_dry_run_prints_all_launches_and_makes_no_folder(tmp_path, capsys):
    assert sweep(tmp_path / "run", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == LAUNCHES + 1 and "6 launches, about" in lines[-1]
    assert not (tmp_path / "run").exists()


def estimate_of_two_places():
    places = tuple(Place(name, 2, SizeRange(1024, 64 << 20)) for name in ("host", "1gbit"))
    plan = Plan(places, Contenders(("fp32",)), Effort(2))
    return Estimate(plan, cores=4), {launch.name: launch for launch in plan.launches()}


def test_the_estimate_learns_from_launches_of_the_same_kind_and_place():
    estimate, launches = estimate_of_two_places()
    first, second = launches["host-2-gloo-0"], launches["host-2-gloo-1"]
    before = estimate.seconds(second)
    estimate.learn(first, 3 * estimate.seconds(first))
    estimate.learn(launches["host-2-cpd-0"], 1.0)
    assert estimate.seconds(second) == pytest.approx(3 * before)


def test_the_estimate_trusts_launches_elsewhere_by_their_length():
    estimate, launches = estimate_of_two_places()
    host, other = launches["host-2-cpd-0"], launches["1gbit-2-cpd-0"]
    model, before = estimate.seconds(host), estimate.seconds(other)
    estimate.learn(host, 2 * model)
    expected = (2 * model + 20) / (model + 20)
    assert estimate.seconds(other) == pytest.approx(expected * before)
    # Of another kind, and none of that kind is known yet.
    unknown = launches["1gbit-2-gloo-0"]
    assert estimate.seconds(unknown) == pytest.approx(expected * estimate.model[unknown])


def test_durations():
    assert [format_duration(seconds) for seconds in (4, 600, 3600 * 3 + 300)] == [
        *("4 s", "10 min", "3 h 05 min")
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "2gbit"], "'2gbit': allowed are 100mbit, 1gbit, 10gbit, host"),
        (["--ranks", "1"], "'1' ranks: numbers from 2 to 64"),
        (["--launches", "0"], "'0': a whole number above 0"),
        (["--sizes", "1M:1K"], "last size 1K: at least the first, 1M"),
        (["--baselines", "nccl"], "'nccl': allowed are openmpi-ring, gloo, openmpi-1"),
        (["--wires", "fp32,"], "'fp32,': names with commas between them"),
    ],
)
def test_mistakes_are_named(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(words, fake_network)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_program_that_is_not_there(tmp_path, capsys):
    assert sweep(tmp_path / "run", "--program", "/nowhere/perf") == 2
    assert "--program /nowhere/perf" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_the_program_does_not_know_is_found_before_the_first_launch(tmp_path, capsys):
    assert sweep(tmp_path / "run", "--wires", "fp32,e9m9") == 2
    assert "unknown format 'e9m9'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- runs -----------------------------------------------------------------------------------------


def test_a_whole_run(whole):
    document = result(whole)
    assert document["schema"] == "cpdperf-sweep/1"
    assert document["versions"] == {"cpdcomm": "0.1", "mpi": "Fake MPI", "torch": "0.1"}
    assert document["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert document["left_out"] == [{"what": "sign rounded", "reason": "made up"}]
    # Of each of three sizes: two formats with two algorithms, MPI twice, gloo with two formats.
    assert len(document["rows"]) == 3 * (4 + 2 + 2)
    assert [row["library"] for row in document["rows"][:8]] == [
        *("openmpi", *["cpdcomm"] * 4, "openmpi-ring", "gloo", "gloo")
    ]
    for row in document["rows"]:
        assert row["launches"] == 2 and row["iterations"] == 10 and row["wrong"] == 0
        assert row["time_us_low"] <= row["time_us"] <= row["time_us_high"]
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert not list((whole / "launches").glob(".*"))  # no file of a launch is left


def test_the_fake_writes_what_the_schema_asks_for(whole):
    schema = json.loads((ROOT / "perf" / "schema" / "allreduce.schema.json").read_text())
    records = sorted((whole / "launches").glob("*.json"))
    assert len(records) == LAUNCHES
    for path in records:
        jsonschema.validate(json.loads(path.read_text())["result"], schema)


def test_gains_and_bounds(whole):
    rows = [row for row in result(whole)["rows"] if row["size"] == 16384]
    fp32 = [row for row in rows if row["wire"] == "fp32"]
    best = min(fp32, key=lambda row: row["time_us"])
    assert best["gain"] == best["gain_low"] == best["gain_high"] == 1.0
    for row in rows:
        assert row["gain"] == pytest.approx(best["time_us"] / row["time_us"])
        bits = {"fp32": 32, "bf16": 16, "e4m3": 8}[row["wire"]]
        # 2 (4 - 1) / 4 of the vector, at a gigabit a second.
        assert row["bound_us"] == pytest.approx(1.5 * 16384 * bits / 32 * 8 / 1000)
        assert (row["wire_bytes"] is None) == (row["library"] != "cpdcomm")


def without_times(document):
    changing = ("date", "summarized", "command")
    kept = {name: value for name, value in document.items() if name not in changing}
    load = {"load": None}  # other work on the machine
    return kept | {"machine": kept["machine"] | load}


def test_an_interrupted_run_goes_on(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FakeNetwork, "interrupt_at", "1gbit-4-gloo-0")
    assert sweep(tmp_path / "run") == 130
    assert f"--run-dir {tmp_path / 'run'}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "sweep.json").exists()
    assert len(list((tmp_path / "run" / "launches").iterdir())) == 2

    monkeypatch.setattr(FakeNetwork, "started", [])
    monkeypatch.setattr(FakeNetwork, "interrupt_at", None)
    assert sweep(tmp_path / "run") == 0
    assert "4/4 1gbit-4-gloo-1: " in capsys.readouterr().err
    assert FakeNetwork.started == [
        *("1gbit-4-gloo-0", "1gbit-4-cpd-1", "1gbit-4-openmpi-ring-1", "1gbit-4-gloo-1")
    ]
    assert without_times(result(tmp_path / "run")) == without_times(result(whole))


def test_summarize_a_run_that_is_not_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeNetwork, "interrupt_at", "1gbit-4-cpd-1")
    assert sweep(tmp_path / "run") == 130
    out = tmp_path / "so-far.json"
    assert command_line.main(["summarize", str(tmp_path / "run"), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    missing = [one["what"] for one in document["left_out"] if one["reason"] == "not run yet"]
    assert missing == [f"1gbit-4-{kind}-1" for kind in ("cpd", "openmpi-ring", "gloo")]
    assert all(row["launches"] == 1 for row in document["rows"])
    assert command_line.main(["summarize", str(tmp_path / "run"), "--out", str(out)]) == 2
    assert command_line.main(["summarize", str(tmp_path)]) == 2


def test_nothing_is_overwritten(whole, capsys):
    assert sweep(whole) == 2
    assert "sweep.json exists; --force overwrites it" in capsys.readouterr().err
    assert sweep(whole, "--force") == 0
    assert FakeNetwork.started == []


def test_other_settings_are_refused(whole, capsys):
    assert sweep(whole, "--launches", "3", "--force") == 2
    assert "launches: 2 there, 3 now" in capsys.readouterr().err


def test_another_build_of_the_program_is_refused(whole, tmp_path, capsys):
    changed = tmp_path / FAKE.name
    changed.write_text(FAKE.read_text() + "# changed\n")
    changed.chmod(0o755)
    assert sweep(whole, "--program", str(changed), "--force") == 2
    assert "program_build: " in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert sweep(tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_sweeps_do_not_work_in_one_folder(whole, capsys):
    with RunFolder.read(whole).locked():
        assert sweep(whole, "--force") == 2
    assert f"another perf/sweep works in {whole}" in capsys.readouterr().err


def test_a_launch_that_fails_is_left_out_and_repeated(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_FAILS", "openmpi-ring-0")
    assert sweep(tmp_path / "run") == 3
    assert "FAILED 1gbit-4-openmpi-ring-0: exit code 2" in capsys.readouterr().err
    (failed,) = [one for one in result(tmp_path / "run")["left_out"] if "1gbit" in one["what"]]
    assert failed["what"] == "1gbit-4-openmpi-ring-0"
    assert failed["reason"] == "exit code 2 and no results\nthe fake was told to fail"
    assert len(FakeNetwork.started) == LAUNCHES

    monkeypatch.delenv("FAKE_FAILS")
    FakeNetwork.started.clear()
    assert sweep(tmp_path / "run", "--force") == 0
    assert FakeNetwork.started == ["1gbit-4-openmpi-ring-0"]


def test_a_launch_that_hangs_is_ended(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    monkeypatch.setenv("FAKE_HANGS", "cpd-1")
    monkeypatch.setenv("FAKE_MARK", str(mark))
    assert sweep(tmp_path / "run", "--launch-limit", "1") == 3
    (failed,) = [one for one in result(tmp_path / "run")["left_out"] if "1gbit" in one["what"]]
    assert failed == {"what": "1gbit-4-cpd-1", "reason": "no end within 1 s"}
    assert not is_running(int(mark.read_text()))


def test_a_network_that_cannot_be_made(tmp_path):
    @contextlib.contextmanager
    def broken(place):
        if place.network == "1gbit":
            raise network.NetworkError("made up")
        yield FakeNetwork(place)

    arguments = [*SMALL, "--networks", "1gbit,host", "--run-dir", str(tmp_path / "run")]
    assert command_line.main(arguments, broken) == 3
    document = result(tmp_path / "run")
    assert {row["network"] for row in document["rows"]} == {"host"}
    assert [one["reason"] for one in document["left_out"]][:6] == ["no network: made up"] * 6


def test_a_network_that_breaks_in_the_middle(tmp_path):
    class Breaking(FakeNetwork):
        def run(self, program, output, limit):
            if len(self.started) == 2:
                raise network.NetworkError("a cable")
            return super().run(program, output, limit)

    @contextlib.contextmanager
    def breaking(place):
        yield Breaking(place)

    arguments = [*SMALL, "--run-dir", str(tmp_path / "run")]
    assert command_line.main(arguments, breaking) == 3
    left_out = result(tmp_path / "run")["left_out"]
    reasons = {one["what"]: one["reason"] for one in left_out if "1gbit" in one["what"]}
    assert len(reasons) == LAUNCHES - 2 and set(reasons.values()) == {"no network: a cable"}


def test_a_wrong_result_fails_the_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_WRONG", "cpd-0")
    assert sweep(tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "WRONG RESULT 1gbit-4-cpd-0: 3 of 256 values are wrong: e4m3 ring" in said
    assert said.splitlines()[-1] == "WRONG RESULTS in 1gbit-4-cpd-0"
    wrong = {row["library"]: row["wrong"] for row in result(tmp_path / "run")["rows"]}
    assert wrong == {"cpdcomm": 3, "openmpi": 3, "openmpi-ring": 0, "gloo": 0}
    # What was wrong stays wrong when the run is continued.
    assert sweep(tmp_path / "run", "--force") == 1


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_and_says_how_to_go_on(tmp_path, number):
    if not shutil.which("mpirun"):
        pytest.skip("mpirun is not installed")
    mark = tmp_path / "mark"
    environment = {**os.environ, "FAKE_HANGS": "cpd-0", "FAKE_MARK": str(mark)}
    environment["PYTHONPATH"] = str(ROOT / "perf")
    words = [*SMALL, "--networks", "host", "--ranks", "2", "--run-dir", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "cpdperf.sweep", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + SOON
    while not mark.exists() or not mark.read_text():
        assert time.monotonic() < end and process.poll() is None, "the launch did not start"
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=SOON)
    assert process.returncode == 128 + number
    assert said.splitlines()[-1].startswith("  perf/sweep --networks 1gbit")
    assert not is_running(int(mark.read_text()))


def test_the_first_program_that_fails_ends_the_others(tmp_path):
    began = time.monotonic()
    commands = [(["sleep", "1000"], os.environ), (["sh", "-c", "echo no; exit 5"], os.environ)]
    assert run_together(commands, tmp_path / "output", SOON) == 5
    assert time.monotonic() - began < SOON
    assert (tmp_path / "output").read_text() == "no\n"
    assert run_together([(["sleep", "30"], os.environ)], tmp_path / "output", 0.2) == TIMED_OUT


# --- plans with names -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The fake under the names of both programs."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("cpd-allreduce-perf", "cpd-mpich-perf"):
        shutil.copy(FAKE, folder / name)
    return folder / "cpd-allreduce-perf"


def named(plan, folder, programs, *more):
    words = [plan, "--run-dir", str(folder), "--program", str(programs), "--iterations", "3"]
    return command_line.main([*words, *more], fake_network)


@pytest.fixture(scope="module")
def targets_run(programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets") / "run"
    assert named("targets", folder, programs, "--launches", "2") == 0
    return result(folder)


def test_targets_are_measured_beside_every_fp32(targets_run):
    libraries = {row["library"] for row in targets_run["rows"] if row["wire"] == "fp32"}
    numbers = {f"openmpi-{number}" for number in range(1, 7)}
    assert libraries == {"openmpi", "cpdcomm", "gloo", "mpich", *numbers}
    assert targets_run["versions"]["mpich"] == "Fake MPI"
    scalings = {row["scaling"] for row in targets_run["rows"] if row["wire"] == "e4m3"}
    assert scalings == {"aps", "aps:4096"}
    rows = [row for row in targets_run["rows"] if row["library"] == "cpdcomm"]
    assert {row["accumulate"] for row in rows if row["wire"] == "bfp8"} == {"wide", "exact"}
    assert all(row["launches"] == 2 for row in rows)


def test_every_target_has_a_verdict(targets_run, capsys):
    found = targets.findings(targets_run)
    assert len(found) == 3 + 3 + 2 + 2 + 2 + 2 + 3 + 3
    assert targets.UNKNOWN not in {one.verdict for one in found}
    text = targets.report(targets_run)
    assert len(text.splitlines()) == 2 + len(found) + 1 + 3  # int2, bfp8 and int8 exact, too
    assert targets.MISSED in text  # the fake is no fast library


def row_of_target(**changed):
    row = {"network": "1gbit", "ranks": 4, "size": 64 << 20, "wire": "e4m3", "library": "cpdcomm"}
    row |= {"accumulate": "wide", "scaling": "aps:512", "algorithm": "ring", "gain": 3.9}
    row |= {"gain_low": 3.86, "gain_high": 3.95, "time_us": 100.0, "bound_us": 95.0}
    row |= {"time_us_low": 99.0, "time_us_high": 102.0}
    return row | changed


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "met"),
        ({"gain_low": 3.8}, "open"),
        ({"gain_low": 3.0, "gain_high": 3.84}, "MISSED"),
        ({"scaling": "aps"}, "not measured"),
        ({"accumulate": "exact"}, "not measured"),
        ({"library": "other"}, "not measured"),
        ({"size": 1024}, "not measured"),
    ],
)
def test_the_verdict_on_a_gain(changed, verdict):
    first = targets.of_table()[0]
    assert targets.judge(first, [row_of_target(**changed)]).verdict == verdict


def test_the_part_of_the_bound_turns_the_interval_round():
    (target,) = [one for one in targets.of_table() if not one.is_gain and one.wire == "e4m3"]
    found = targets.judge(target, [row_of_target()])
    assert (found.value, found.low, found.high) == (0.95, 95 / 102, 95 / 99)
    assert found.verdict == "open"  # .93 to .96 holds .94


def test_the_price_of_exact_is_per_byte():
    wide = row_of_target(wire="bfp8", wire_bytes=100.0, launch_medians_us=[10.0, 20.0, 40.0])
    exact = wide | {"accumulate": "exact", "wire_bytes": 125.0}
    exact["launch_medians_us"] = [15.0, 30.0, 60.0]
    (price,) = targets.prices({"rows": [exact, wide]})
    assert (price.value, price.low, price.high) == pytest.approx((1.2, 1.2, 1.2))
    assert price.verdict == "MISSED"
    assert targets.prices({"rows": [wide]}) == []


def cell_of(own, other):
    row = {"network": "host", "ranks": 2, "size": 1024, "wire": "fp32", "compressed": False}
    row |= {"algorithm_taken": "native", "time_us": own[0], "launch_medians_us": own}
    return never_slower.cell(row, row | {"time_us": other[0], "launch_medians_us": other})


@pytest.mark.parametrize(
    ("own", "other", "verdict"),
    [
        ([100.0] * 5, [100.0] * 5, "kept"),
        ([102.9] * 5, [100.0] * 5, "kept"),
        ([14.0] * 5, [10.0] * 5, "kept"),  # 4 us
        ([106.0] * 5, [100.0] * 5, "BROKEN"),
        ([2000.0, 1000.0, 1000.0, 1000.0, 1000.0], [1000.0] * 5, "open"),
        ([200.0] * 2, [100.0] * 2, "open"),  # too few launches
    ],
)
def test_the_verdict_on_a_cell(own, other, verdict):
    assert cell_of(own, other).verdict == verdict


def test_what_disturbs_a_launch_cancels_in_the_ratio():
    cell = cell_of([100.0, 300.0, 200.0], [50.0, 150.0, 100.0])
    assert (cell.ratio, cell.ratio_low, cell.ratio_high) == pytest.approx((2, 2, 2))


def test_draws_are_all_there_are_or_many():
    assert len(never_slower.draws_of(3)) == 27 and len(never_slower.draws_of(5)) == 3125
    assert never_slower.draws_of(8).shape == (never_slower.MOST_DRAWS, 8)


def test_never_slower_runs_automatic_beside_mpi(programs, tmp_path, capsys):
    words = ["--networks", "host", "--ranks", "2,4", "--sizes", "1K:4K", "--launches", "2"]
    assert named("never-slower", tmp_path / "run", programs, *words) == 0
    said = capsys.readouterr().out
    cells = never_slower.cells(result(tmp_path / "run"))
    assert {(one.ranks, one.size, one.wire) for one in cells} == {
        (ranks, size, wire)
        for ranks in (2, 4)
        for size in (1024, 4096)
        for wire in ("fp32", "e4m3")
    }
    assert re.search(r"^# \d+ kept, \d+ open, \d+ BROKEN$", said, re.M)


def test_each_network_has_its_own_table(programs, tmp_path):
    for name in ("host", "1gbit"):
        (tmp_path / name).write_text("{}")
    words = ["never-slower", "--tuning", f"host={tmp_path / 'host'},1gbit={tmp_path / '1gbit'}"]
    plan = options.named_plan_of(options.parse_plan(words))
    given = {
        launch.place.network: launches.program_of(launch, plan, programs, tmp_path).environment
        for launch in plan.launches()
    }
    assert given["host"] == {"CPDCOMM_TUNING": str(tmp_path / "host")}
    assert given["1gbit"] == {"CPDCOMM_TUNING": str(tmp_path / "1gbit")} and given["10gbit"] == {}
    assert plan_from(plan.settings()) == plan


def test_another_table_is_another_run(programs, tmp_path, capsys):
    table = tmp_path / "host.json"
    table.write_text("{}")
    words = ["--networks", "host", "--ranks", "2", "--sizes", "1K", "--launches", "1"]
    words += ["--tuning", f"host={table}"]
    assert named("never-slower", tmp_path / "run", programs, *words) == 0
    table.write_text('{"schema": 2}')
    assert named("never-slower", tmp_path / "run", programs, *words, "--force") == 2
    assert "tables: " in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [60, 120, 240])
def test_a_budget_of_time_is_kept(minutes):
    plan = plans.within(plans.never_slower(), 60 * minutes, cores=4)
    assert sum(Estimate(plan, 4).model.values()) == pytest.approx(60 * minutes, rel=0.02)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["never-slower", "--time-budget", "1"], "--time-budget 1 minutes: this plan takes about"),
        (["never-slower", "--time-budget", "9", "--time-limit", "9"], "one of them"),
        (["targets", "--networks", "100mbit"], "none of the plan's places is left; it has 1gbit-4"),
    ],
)
def test_what_a_plan_cannot_do(words, message, capsys):
    assert command_line.main(words, fake_network) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["targets", "--group", "12"], "'12': a multiple of 8"),
        (["never-slower", "--tuning", "moon=x"], "'moon=x': NETWORK=FILE"),
        (["never-slower", "--tuning", "host=/no"], "'host=/no': /no is not a file"),
    ],
)
def test_mistakes_in_plans_are_named(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(words, fake_network)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_without_the_program_of_mpich_nothing_starts(tmp_path, capsys):
    words = ["targets", "--program", str(FAKE), "--run-dir", str(tmp_path / "run")]
    assert command_line.main(words, fake_network) == 2
    assert "cpd-mpich-perf, which times MPICH" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_numbers_of_openmpi_are_said_by_variables():
    assert launches.forced(6)["OMPI_MCA_coll_tuned_allreduce_algorithm"] == "6"
    assert matrix.OPENMPI_NUMBERS == {
        "openmpi-ring": 4, **{f"openmpi-{number}": number for number in range(1, 7)}
    }  # fmt: skip


# --- statistics -----------------------------------------------------------------------------------


def test_the_median_is_over_all_iterations_of_all_launches():
    assert statistics.median_of([[1.0, 2.0, 3.0], [10.0, 11.0]]) == 3.0
    assert statistics.median_of([[1.0, 2.0], [3.0, 10.0]]) == 2.5


def test_resamples_of_two_launches_by_hand():
    draws = statistics.launch_draws(2, 40_000)
    medians = statistics.resampled_medians([[1.0], [3.0]], draws, seed=1)
    # Both launches the first, one of each, both the second: 1/4, 1/2, 1/4.
    shares = [float(np.mean(medians == value)) for value in (1.0, 2.0, 3.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert statistics.interval_of(medians) == (1.0, 3.0)


def test_resamples_of_launches_of_different_length_by_hand():
    draws = statistics.launch_draws(2, 40_000)
    medians = statistics.resampled_medians([[1.0], [3.0, 3.0, 3.0]], draws, seed=1)
    # One of each launch: one 1 and three 3.
    assert set(medians) == {1.0, 3.0}
    assert float(np.mean(medians == 1.0)) == pytest.approx(0.25, abs=0.01)


def direct_bootstrap(launches, resamples, generator):
    medians = []
    for _ in range(resamples):
        chosen = [launches[generator.integers(len(launches))] for _ in launches]
        drawn = [generator.choice(times, len(times)) for times in chosen]
        medians.append(np.median(np.concatenate(drawn)))
    return np.percentile(medians, [2.5, 97.5])


def test_the_interval_is_that_of_a_direct_bootstrap():
    generator = np.random.default_rng(3)
    launches = [list(generator.normal(100 + 5 * i, 4, 20 - 4 * i)) for i in range(3)]
    direct = direct_bootstrap(launches, 5000, generator)
    draws = statistics.launch_draws(3, 20_000)
    medians = statistics.resampled_medians(launches, draws, seed=9)
    assert statistics.interval_of(medians) == pytest.approx(direct, rel=0.01)


def test_what_disturbs_a_launch_of_all_contenders_cancels_in_the_gain():
    draws = statistics.launch_draws(2)
    slow = statistics.resampled_medians([[10.0, 10.0], [20.0, 20.0]], draws, seed=1)
    fast = statistics.resampled_medians([[5.0, 5.0], [10.0, 10.0]], draws, seed=2)
    assert statistics.interval_of(slow / fast) == (2.0, 2.0)


def test_resamples_are_the_same_in_every_run():
    launches, draws = [[1.0, 2.0, 4.0], [3.0, 5.0, 9.0]], statistics.launch_draws(2)
    seed = statistics.seed_of("a name")
    first = statistics.resampled_medians(launches, draws, seed)
    again = statistics.resampled_medians(launches, statistics.launch_draws(2), seed)
    assert (first == again).all() and len(set(first)) > 1


# --- networks -------------------------------------------------------------------------------------


def open_or_skip(place):
    """The network of a place, or a skipped test where it cannot be made."""
    try:
        network.require([place])
    except network.NetworkError as error:
        pytest.skip(f"no such network here: {error}")
    return network.open_network(place)


@pytest.mark.parametrize("name", ["1gbit", "host"])
def test_ranks_by_mpirun_and_one_by_one(name, tmp_path):
    output = tmp_path / "output"
    rank_of = {"openmpi": "OMPI_COMM_WORLD_RANK", "each": "RANK", "mpich": "PMI_RANK"}
    if not shutil.which("mpiexec.hydra"):
        del rank_of["mpich"]
    with open_or_skip(Place(name, 2, SizeRange(1024, 1024))) as ranks:
        for launcher, rank in rank_of.items():
            show = f'printf "%s\\n" "$GREETING ${rank}" >&2; sleep 0.5; exit ${rank}'
            program = network.Program(["sh", "-c", show], launcher, {"GREETING": "hello"})
            assert ranks.run(program, output, SOON) == 1  # the code of rank 1
            assert {"hello 0", "hello 1"} <= set(output.read_text().splitlines())


def test_a_sweep_in_the_lab(tmp_path):
    with open_or_skip(Place("100mbit", 2, SizeRange(1024, 1024))):
        pass
    arguments = ["--networks", "100mbit", "--ranks", "2", "--sizes", "1M", "--launches", "1"]
    arguments += ["--wires", "fp32", "--iterations", "3", "--program", str(FAKE)]
    assert command_line.main([*arguments, "--run-dir", str(tmp_path / "run")]) == 0
    rows = result(tmp_path / "run")["rows"]
    assert {row["library"] for row in rows} == {"cpdcomm", "openmpi", "openmpi-ring", "gloo"}
    assert {(row["ranks"], row["rate_mbit"]) for row in rows} == {(2, 100)}
    # Only gloo's times are measured here; the link lets its bytes through no faster than this.
    (gloo,) = [row for row in rows if row["library"] == "gloo" and row["wire"] == "fp32"]
    assert gloo["bound_us"] == pytest.approx((1 << 20) * 8 / 100)
    assert gloo["time_us"] > 0.7 * gloo["bound_us"]
