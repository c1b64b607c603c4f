"""cpd-simulate predicts what the lab measures; its tables, JSON, pictures and complaints."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from needs import needs_namespaces
from PIL import Image

from cpdperf.lab import Lab
from cpdperf.simulate.command_line import main
from cpdperf.simulate.simulation import cell_lines, read_simulation, winners_of

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "perf/schema/simulate.schema.json").read_text())
# Where the programs lie, if not beside Python, where scripts/setup puts them.
PROGRAMS = Path(os.environ.get("CPDPERF_PROGRAMS", Path(sys.executable).parent))
TOLERANCE = 0.25
LAUNCHES = 8  # at most: it ends with the first that is near enough
LATENCY = "8us"  # what two hosts of the lab need for a few bytes
LAB = ("--rate", "1gbit", "--latency", LATENCY)
LINK_BOUND = 1 << 20  # bytes from which on the link is what takes the time
Key = tuple[str, str, int]  # format, algorithm, size


def simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = PROGRAMS / "cpd-simulate"
    assert program.exists(), "scripts/setup puts the program beside Python"
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def rows(*arguments: object) -> list[dict[str, Any]]:
    done = simulate("--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    return record["results"]


def by_key(found: list[dict[str, Any]]) -> dict[Key, float]:
    return {(r["wire"], r["algorithm"], r["size"]): r["time_us"] for r in found}


# The model against the lab

FLAT = ["direct", "ring", "tree", "halving_doubling"]


@dataclass(frozen=True)
class Place:
    """Where all-reduces are measured, and which."""

    hosts: int
    per_host: int
    rate_mbit: int
    algorithms: list[str]  # across hosts, where these have several ranks
    sizes: list[str]  # each four times the one before

    def predict(self) -> dict[Key, float]:
        by_hosts = "hierarchical_" if self.per_host > 1 else ""
        arguments = ["--ranks", self.hosts * self.per_host, "--ranks-per-host", self.per_host]
        arguments += ["--rate", f"{self.rate_mbit}mbit", "--latency", LATENCY]
        arguments += ["--sizes", ",".join(self.sizes), "--wire", "fp32,e4m3"]
        algorithms = [by_hosts + name for name in self.algorithms]
        return by_key(rows(*arguments, "--algorithm", ",".join(algorithms)))

    def measure(self, lab: Lab, report: Path) -> dict[Key, float]:
        """Medians of one launch."""
        names = ",".join(self.algorithms)
        by_hosts = ["--algorithm", "hierarchical", "--across", names]
        command = [str(PROGRAMS / "cpd-allreduce-perf"), "--wire", "fp32,e4m3"]
        command += ["-b", self.sizes[0], "-e", self.sizes[-1], "-f", "4"]
        command += by_hosts if self.per_host > 1 else ["--algorithm", names]
        command += ["--baseline", "none", "-n", "5", "-w", "1", "-c", "0", "-J", str(report)]
        code = lab.run(command, per_host=self.per_host, output=subprocess.DEVNULL, limit=600)
        assert code == 0
        results = json.loads(report.read_text())["results"]
        return by_key([{**row, "algorithm": predicted_name(row)} for row in results])


def predicted_name(row: dict[str, Any]) -> str:
    """The algorithm as cpd-simulate calls it."""
    return f"{row['algorithm']}_{row['across']}" if row["across"] else row["algorithm"]


def launches(place: Place, folder: Path) -> Iterator[dict[Key, float]]:
    """The least medians so far, launch by launch: a busy machine makes times longer only."""
    least: dict[Key, float] = {}
    with Lab(place.hosts, place.rate_mbit, name=f"t{os.getpid()}-simulate") as lab:
        for launch in range(LAUNCHES):
            for key, time in place.measure(lab, folder / f"{launch}.json").items():
                least[key] = min(time, least.get(key, time))
            yield least


def misses(predicted: dict[Key, float], measured: dict[Key, float]) -> dict[Key, float]:
    """What was predicted over what was measured, where that is too far from 1."""
    ratios = {key: predicted[key] / measured[key] for key in predicted}
    return {key: ratio for key, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE}


# At 20 and 100 Mbit/s the link takes the time, whatever else the machine does meanwhile.
@needs_namespaces
@pytest.mark.parametrize(
    "place",
    [
        Place(2, 1, 1000, ["direct", "ring"], ["1M", "4M"]),
        Place(4, 1, 1000, ["direct", "ring"], ["1M", "4M"]),
        Place(4, 1, 1000, ["tree", "halving_doubling"], ["4M"]),
        Place(2, 2, 1000, FLAT, ["4M"]),
        Place(4, 1, 100, ["tree", "halving_doubling"], ["1M", "4M"]),
        Place(2, 2, 20, FLAT, ["1M"]),
    ],
    ids=lambda place: f"{place.hosts}x{place.per_host}-{place.rate_mbit}-{place.algorithms[0]}",
)
def test_the_prediction_is_near_the_measurement(place: Place, tmp_path: Path) -> None:
    predicted = place.predict()
    assert len(predicted) == len(place.sizes) * 2 * len(place.algorithms)
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    for measured in launches(place, tmp_path):
        assert predicted.keys() == measured.keys()
        too_far = misses(predicted, measured)
        if not too_far:
            return
    if load > cores:
        pytest.skip(f"load {load} on {cores} cores: others' work is what was measured: {too_far}")
    pytest.fail(f"predicted / measured: {too_far}")


def recorded(ranks: int) -> dict[Key, float]:
    """A sweep of the lab on a quiet machine."""
    sweep = json.loads((ROOT / "perf/results/2026-11-21-zen4/sweep.json").read_text())
    return by_key(
        [
            row
            for row in sweep["rows"]
            if (row["network"], row["library"], row["ranks"]) == ("1gbit", "cpdcomm", ranks)
        ]
    )


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_the_prediction_is_near_what_was_recorded(ranks: int) -> None:
    measured = {key: time for key, time in recorded(ranks).items() if key[2] >= LINK_BOUND}
    sizes = sorted({size for _, _, size in measured})
    wires = sorted({wire for wire, _, _ in measured})
    arguments = ["--ranks", ranks, "--sizes", ",".join(map(str, sizes)), "--wire", ",".join(wires)]
    predicted = by_key(rows(*LAB, *arguments, "--algorithm", "direct,ring"))
    assert len(measured) >= 2 * 4 * 7 and predicted.keys() == measured.keys()
    # The smallest vectors of 4 bits are not bound by the link.
    few_bits = {key for key in measured if key[0] in ("e3m0", "int4", "mxfp4")}
    bound = {key: predicted[key] for key in measured if key[2] > LINK_BOUND or key not in few_bits}
    assert not misses(bound, measured)


def test_a_prediction_that_is_wrong_is_noticed() -> None:
    key = ("fp32", "ring", 1 << 20)
    assert not misses({key: 124.0}, {key: 100.0}) and not misses({key: 76.0}, {key: 100.0})
    assert misses({key: 126.0}, {key: 100.0}) and misses({key: 74.0}, {key: 100.0})


# What is printed


def test_every_row_is_predicted_and_the_fastest_is_named() -> None:
    found = rows("--network", "1gbit,host", "--ranks", "4,16", "--sizes", "64K,16M")
    assert len(found) == 2 * 2 * 2 * 4 * 5
    places = {(r["network"], r["ranks"], r["size"]) for r in found}
    for place in places:
        here = [r for r in found if (r["network"], r["ranks"], r["size"]) == place]
        least = min(r["time_us"] for r in here)
        best_fp32 = min(r["time_us"] for r in here if r["wire"] == "fp32")
        assert [r["time_us"] for r in here if r["fastest"]] == [least]
        assert {r["wire"] for r in here if r["best_of_format"]} == {"fp32", "e5m2", "e4m3", "e3m0"}
        assert sum(r["best_of_format"] for r in here) == 4
        for row in here:
            assert row["gain"] == pytest.approx(best_fp32 / row["time_us"])
            assert row["ranks_per_host"] == (row["ranks"] if row["network"] == "host" else 1)


def test_the_gain_needs_no_fp32_among_the_formats() -> None:
    arguments = ["--rate", "1gbit", "--ranks", "4", "--sizes", "16M", "--algorithm", "ring"]
    (alone,) = rows(*arguments, "--wire", "e4m3")
    both = rows(*arguments, "--wire", "fp32,e4m3")
    assert alone["gain"] == both[1]["gain"] > 3


def test_hierarchical_is_there_where_hosts_have_several_ranks() -> None:
    algorithms = {r["algorithm"] for r in rows("--ranks", "64", "--ranks-per-host", "8")}
    assert "hierarchical_halving_doubling" in algorithms and len(algorithms) == 9
    one_host = rows("--ranks", "8", "--ranks-per-host", "8", "--sizes", "1M")
    assert len({r["algorithm"] for r in one_host}) == 5
    inner = ["--ranks", 16, "--ranks-per-host", 8, "--wire", "e4m3", "--sizes", "64M"]
    inner += ["--algorithm", "hierarchical_ring", "--inside-rate", "1gbit"]
    (wide,), (narrow,) = rows(*inner), rows(*inner, "--inner", "wire")
    assert wide["wire_us"] == pytest.approx(4 * narrow["wire_us"])
    assert narrow["casts"] == wide["casts"] + 1


@pytest.mark.parametrize(
    ("arguments", "field", "factor"),
    [
        (["--rate", "5gbit"], "wire_us", 2),
        (["--codec-rate", "e4m3=9.55/8.65/3.8"], "codec_us", 2),
        (["--latency", "60us"], "latency_us", 2),
        (["--ranks", "8"], "casts", 2),
    ],
)
def test_options_change_what_they_name(arguments: list[str], field: str, factor: float) -> None:
    fixed = ["--sizes", "64M", "--wire", "e4m3", "--algorithm", "ring", "--scaling", "none"]
    fixed += ["--overhead", "0us", "--cpu-rate", "1000000gbit"]
    base = rows(*fixed, "--rate", "10gbit", "--latency", "30us", "--ranks", "4")[0]
    given = dict(zip(["--rate", "--latency", "--ranks"], ["10gbit", "30us", "4"], strict=True))
    given.update(dict(zip(arguments[::2], arguments[1::2], strict=True)))
    changed = rows(*fixed, *[word for pair in given.items() for word in pair])[0]
    assert changed[field] == pytest.approx(factor * base[field], rel=1e-3)


def test_exponents_cost_a_pass_unless_they_are_grouped() -> None:
    fixed = ["--ranks", "4", "--sizes", "64M", "--wire", "e4m3", "--algorithm", "direct"]
    plain, whole, grouped = (
        rows(*fixed, "--scaling", scaling)[0] for scaling in ("none", "aps", "aps:512")
    )
    assert whole["codec_us"] - plain["codec_us"] == pytest.approx((64 << 20) / 24.5e3)
    assert grouped["codec_us"] == pytest.approx(plain["codec_us"], rel=0.01)
    assert grouped["wire_us"] == pytest.approx(plain["wire_us"] * (1 + 16 / 512 / 8))
    (fp32,) = rows(*fixed[:4], "--wire", "fp32", "--algorithm", "direct", "--scaling", "aps")
    assert fp32["latency_us"] == 40


def test_the_table_shows_the_fastest_algorithm_of_each_format() -> None:
    lines = simulate("--ranks", "4,64", "--sizes", "1M,16M").stdout.splitlines()
    data = [line for line in lines if not line.startswith("#")]
    assert len(data) == 2 * 2 * 4 and sum(line.startswith("*") for line in data) == 4
    more = simulate("--ranks", "4,64", "--sizes", "1M,16M", "--all").stdout.splitlines()
    assert len(more) - len(lines) == 2 * 2 * 4 * 4
    assert any("of payload each way" in line for line in lines)


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "simulation.json"
    done = simulate("--ranks", "64", "--format", "csv", "-J", path)
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    record = json.loads(path.read_text())["results"]
    assert len(table) == len(record) > 0 and table[0].keys() == record[0].keys()
    for line, row in zip(table, record, strict=True):
        assert float(line["time_us"]) == pytest.approx(row["time_us"], rel=1e-5)
        assert line["fastest"] == str(int(row["fastest"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "fast"], "'fast' is no network; allowed is the rate of a host's link"),
        (["--network", "0gbit"], "'0gbit' is no network"),
        (["--ranks", "0"], "0 not in range"),
        (["--ranks", "6", "--ranks-per-host", "4"], "allowed are multiples of 4"),
        (["--latency", "20"], "'20' is no time; allowed are 0 to 10 s"),
        (["--wire", "e9m9"], "e9m9"),
        (["--algorithm", "hierarchical"], "hierarchical_ring"),
        (["--codec-rate", "e4m3=5"], "allowed is NAME=ENCODE/DECODE/JOIN"),
        (["--codec-rate", "e4m3=5/0/1"], "allowed is NAME=ENCODE/DECODE/JOIN"),
        (["--codec-rate", "e9m9=1/1/1"], "e9m9"),
        (["--sizes", "big"], "'big' is no size"),
        (["--segment", "0"], "--segment is 0"),
        (["--scaling", "much"], "much"),
        (["-J", "/nowhere/x.json"], "there is no folder '/nowhere'"),
    ],
)
def test_misuse_is_explained(arguments: list[str], message: str) -> None:
    done = simulate(*arguments)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr


def test_help_teaches() -> None:
    text = simulate("--help").stdout
    assert "cpd-simulate --ranks 64,1024 --ranks-per-host 8" in text
    assert max(map(len, text.splitlines())) <= 100


# The pictures


@pytest.fixture
def simulation(tmp_path: Path) -> Path:
    path = tmp_path / "simulation.json"
    assert simulate("--network", "1gbit,100gbit", "-J", path).returncode == 0
    return path


def test_a_simulation_becomes_pictures(
    simulation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(simulation)]) == 0
    written = {path.name for path in simulation.parent.glob("*.png")}
    assert written == {
        f"simulation-{what}-{network}.png"
        for what in ("winners", "time")
        for network in ("1gbit", "100gbit")
    }
    for path in simulation.parent.glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 1350
    assert main([str(simulation)]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert main([str(simulation), "--force"]) == 0


def test_the_map_has_the_fastest_of_each_size_and_number_of_ranks(simulation: Path) -> None:
    record = read_simulation(simulation)
    for network in ("1gbit", "100gbit"):
        cells = winners_of(record, network)
        assert len(cells) == 4 * 4
        for (ranks, size), row in cells.items():
            here = [
                r
                for r in record["results"]
                if (r["network"], r["ranks"], r["size"]) == (network, ranks, size)
            ]
            assert row["time_us"] == min(r["time_us"] for r in here)


def test_a_cell_says_format_algorithm_and_gain() -> None:
    row = {"wire": "e4m3", "algorithm": "halving_doubling", "gain": 3.94}
    assert cell_lines(row) == ["e4m3", "halving", "doubling", "3.9x"]
    row = {"wire": "fp32", "algorithm": "hierarchical_ring", "gain": 1.0}
    assert cell_lines(row) == ["FP32", "hierarchical", "ring"]


def test_another_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"schema": "cpd-allreduce-perf/1"}')
    assert main([str(path)]) == 2
    assert "the JSON of cpd-simulate -J" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere.json")]) == 2
