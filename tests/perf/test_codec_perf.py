"""cpd-codec-perf as a user runs it: its table, CSV and JSON, and what it refuses."""

from __future__ import annotations

import csv
import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cpdperf.plot.codec import choices, medians

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "perf/schema/codec.schema.json").read_text())
FORMATS, KERNELS = ("e4m3", "int4"), ("memcpy", "encode")
# memcpy, and encode to each format; each with one thread
MEASURED = [("memcpy", "fp32"), ("encode", "e4m3"), ("encode", "int4")]
QUICK = ["--kernels", ",".join(KERNELS), "--values", "1Ki", "--threads", "1", "--min-time", "0.001"]
COLUMNS = "kernel format values threads time_us GB/s of_memcpy spread_%".split()


def program() -> Path:
    folder = Path(os.environ.get("CPDCOMM_PERF_BIN", ROOT / ".venv/bin"))
    found = folder / "cpd-codec-perf"
    assert found.exists(), f"no {found}: run scripts/setup, or set CPDCOMM_PERF_BIN to its folder"
    return found


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(), *arguments], capture_output=True, text=True, cwd=folder, timeout=300
    )


def quick(*arguments: str, folder: Path) -> str:
    """Measures two formats in two repetitions and gives what came out on stdout."""
    done = run("--wire", ",".join(FORMATS), "-n", "2", *QUICK, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def validate(record: dict[str, Any]) -> None:
    """The schema, and that numbers which say the same agree."""
    jsonschema.Draft202012Validator(SCHEMA).validate(record)
    date = datetime.datetime.fromisoformat(record["date"].replace("Z", "+00:00"))
    assert date.utcoffset() == datetime.timedelta(0)
    memcpy = {
        (row["values"], row["threads"]): row["time_us"]
        for row in record["results"]
        if row["kernel"] == "memcpy"
    }
    assert record["results"]
    for row in record["results"]:
        assert row["bytes_per_second"] * row["time_us"] == pytest.approx(4e6 * row["values"])
        ratio = memcpy[row["values"], row["threads"]] / row["time_us"]
        assert row["of_memcpy"] == pytest.approx(ratio)


def test_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "perf/results").glob("*/codec*.json")), ids=lambda path: path.name
)
def test_recorded_results_follow_the_schema(path: Path) -> None:
    validate(json.loads(path.read_text()))


def test_table(tmp_path: Path) -> None:
    lines = quick(folder=tmp_path).splitlines()
    notes = [line for line in lines if line.startswith("#")]
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert notes[-1].removeprefix("#").split() == COLUMNS
    for word in ("cpd-codec-perf", "command: ", "machine: ", "target: "):
        assert any(word in line for line in notes), word
    assert [(row[0], row[1]) for row in rows] == MEASURED
    for row in rows:
        assert len(row) == len(COLUMNS)
        assert row[2:4] == ["1024", "1"]
        time_us, rate, of_memcpy, spread = (float(cell) for cell in row[4:])
        assert time_us > 0 and rate > 0 and of_memcpy > 0 and spread >= 0
    assert rows[0][6] == "1.00"
    ends = {len(line) for line in lines if not line.startswith("#")} | {len(notes[-1])}
    assert len(ends) == 1, "columns are aligned"


def test_table_has_dashes_where_there_is_no_number(tmp_path: Path) -> None:
    done = run("--wire", "e4m3", "--kernels", "encode", *QUICK[2:], "-n", "1", folder=tmp_path)
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [row[6:] for row in rows] == [["-", "-"]]  # neither memcpy nor a second repetition


def test_csv(tmp_path: Path) -> None:
    rows = list(csv.DictReader(quick("--format", "csv", folder=tmp_path).splitlines()))
    assert [(row["kernel"], row["format"]) for row in rows] == MEASURED
    for row in rows:
        low, median, high = (float(row[f"time_us{end}"]) for end in ("_min", "", "_max"))
        assert 0 < low <= median <= high
        assert float(row["GB/s"]) == pytest.approx(4e-3 * 1024 / median, rel=1e-4)


def test_json(tmp_path: Path) -> None:
    record = json.loads(quick("--format", "json", "-J", "codec.json", folder=tmp_path))
    assert record == json.loads((tmp_path / "codec.json").read_text())
    validate(record)
    assert [(row["kernel"], row["format"]) for row in record["results"]] == MEASURED
    fields = SCHEMA["properties"]["results"]["items"]["properties"]
    for row in record["results"]:
        assert row.keys() == fields.keys()
        assert row["time_us_min"] <= row["time_us"] <= row["time_us_max"]
        assert row["repetitions"] == 2
    assert record["options"]["formats"] == list(FORMATS)
    assert record["options"]["kernels"] == list(KERNELS)
    assert record["command"][1:5] == ["--wire", "e4m3,int4", "-n", "2"]
    assert medians(record, "1Ki", 1).keys() == set(MEASURED)
    assert choices(record) == "--values 1Ki --threads 1"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "codec.json").write_text("precious")
    (tmp_path / "codec.json.1").write_text("precious, too")
    out = quick("--output_file", "codec.json", folder=tmp_path)
    assert "# Writing JSON output to codec.json.2" in out.splitlines()
    assert (tmp_path / "codec.json").read_text() == "precious"
    assert (tmp_path / "codec.json.1").read_text() == "precious, too"
    validate(json.loads((tmp_path / "codec.json.2").read_text()))


def test_what_was_asked_for_twice_is_measured_once(tmp_path: Path) -> None:
    twice = ["--wire", "fp16,e5m10,fp16", "--kernels", "encode", "--values", "1Ki,1024"]
    settings = ["--threads", "1,1", "-n", "1", "--min-time", "0.001", "--format", "json"]
    done = run(*twice, *settings, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["repetitions"] for row in json.loads(done.stdout)["results"]] == [1]


def test_options_of_google_benchmark_go_on(tmp_path: Path) -> None:
    rows = quick("--format", "csv", "--benchmark_filter=encode/int4", folder=tmp_path)
    assert [row["format"] for row in csv.DictReader(rows.splitlines())] == ["int4"]
    listed = quick("--benchmark_list_tests=true", folder=tmp_path).splitlines()
    assert [name.split("/")[:2] for name in listed] == [list(pair) for pair in MEASURED]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--wire", "e4m3,e9m9"], ["e9m9", "eXmY"]),
        (["--kernels", "encoding"], ["encoding", "decode_add_encode"]),
        (["--values", "0"], ["--values", "0", "1073741824"]),
        (["--target", "neon9"], ["neon9", "plain"]),
        (["--format", "xml"], ["xml", "table,csv,json"]),
        (["-n", "0"], ["--repetitions", "1 to 1000"]),
        (["-J", "no/such/folder.json"], ["'no/such'"]),
        (["-J", "."], ["'.'", "folder"]),
        (["--formatz", "e4m3"], ["--formatz"]),
        (["--benchmark_nonsense=1"], ["--benchmark_nonsense"]),
        (["--benchmark_repetitions=3"], ["--benchmark_repetitions", "-n/--repetitions"]),
        ([*QUICK, "--benchmark_filter=nothing"], ["nothing"]),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, list) else str(value),
)
def test_bad_usage(tmp_path: Path, arguments: list[str], named: list[str]) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    for word in named:
        assert word in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_help_says_all(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    short = "--formats,--wire --kernels --values --threads --target -n,--repetitions".split()
    options = [*short, "--min-time", "--format ", "-J,--output_file"]
    for word in [*options, *COLUMNS, *KERNELS, "examples:", "exit codes:"]:
        assert word in done.stdout, word
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
