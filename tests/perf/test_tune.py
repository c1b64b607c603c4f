"""cpd-tune as a user runs it: the table that it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from mpirun import Finished, mpirun_command, run
from needs import needs_namespaces

from cpdperf.lab import Lab

ROOT = Path(__file__).parents[2]
QUICK = ["--quick", "-e", "16K", "-n", "3", "--time-limit", "5"]
SIZES = [1024, 4096, 16384]


def program(name: str = "cpd-tune") -> Path:
    folder = Path(os.environ.get("CPDCOMM_PERF_BIN", ROOT / ".venv/bin"))
    found = folder / name
    assert found.exists(), f"no {found}: run scripts/setup, or set CPDCOMM_PERF_BIN to its folder"
    return found


def tune(ranks: int, *arguments: str | Path, **environment: str) -> Finished:
    return run([*mpirun_command(ranks), program(), *arguments], 300.0, **environment)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    path = tmp_path_factory.mktemp("tune") / "table.json"
    finished = tune(3, *QUICK, "-o", path)
    assert finished.code == 0, finished.output
    return path, finished


def test_the_table_holds_all_that_was_measured(written: tuple[Path, Finished]) -> None:
    table = json.loads(written[0].read_text())
    assert table["schema"] == "cpdcomm-tuning/1" and "cpd-tune" in table["about"]
    (profile,) = table["profiles"]
    assert profile["transport"] == "mpi" and profile["ranks"] == 3
    assert [size for size, _ in profile["native"]] == SIZES
    ways = [(own["algorithm"], own["wire"]) for own in profile["own"]]
    names = ["direct", "ring", "tree", "halving_doubling", "exchange"]
    assert sorted(ways) == sorted((n, w) for n in names for w in ["fp32", "e4m3", "e3m0"])
    for curve in [profile["native"], *(own["times"] for own in profile["own"])]:
        assert [size for size, _ in curve] == SIZES
        assert all(1e-8 < seconds < 10 for _, seconds in curve)
    assert all(value > 0 for value in profile["network"].values())


def test_it_shows_what_automatic_will_do(written: tuple[Path, Finished]) -> None:
    path, finished = written
    for size in ["1 KiB", "4 KiB", "16 KiB"]:
        assert size in finished.output
    assert "MPI us" in finished.output and f"CPDCOMM_TUNING={path}" in finished.output


def test_the_library_reads_the_table(written: tuple[Path, Finished]) -> None:
    """By a rule in it all sums go by the ring; rank 0 says so."""
    path, _ = written
    table = json.loads(path.read_text())
    table["profiles"][0]["rules"] = [{"algorithm": "ring"}]
    ruled = path.with_name("ruled.json")
    ruled.write_text(json.dumps(table))
    arguments = ["-b", "4K", "-e", "4K", "-n", "2", "--wire", "e4m3"]
    finished = run(
        [*mpirun_command(3), program("cpd-allreduce-perf"), *arguments],
        300.0,
        CPDCOMM_TUNING=str(ruled),
        CPDCOMM_DEBUG="info",
    )
    assert finished.code == 0, finished.output
    said = [line for line in finished.output.splitlines() if "all-reduce of" in line]
    assert len(said) == 1 and "3 ranks" in said[0] and ": ring" in said[0], finished.output
    assert str(ruled) in said[0]


@needs_namespaces
def test_hosts_with_several_ranks_are_measured_by_hosts(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    command = [str(program()), "--quick", "-e", "1K", "-n", "1", "--time-limit", "5"]
    command += ["--wire", "e4m3", "-o", str(path)]
    with Lab(hosts=2, name=f"t{os.getpid()}-tune") as lab:
        code = lab.run(command, per_host=2, limit=300, output=subprocess.DEVNULL)
    assert code == 0
    (profile,) = json.loads(path.read_text())["profiles"]
    assert (profile["hosts"], profile["ranks"]) == (2, 4)
    across = [own["across"] for own in profile["own"] if own["algorithm"] == "hierarchical"]
    assert across == ["direct", "ring", "tree", "halving_doubling"]


def test_nothing_is_overwritten_unless_forced(written: tuple[Path, Finished]) -> None:
    path, _ = written
    before = path.read_text()
    refused = tune(2, *QUICK, "-o", path)
    assert refused.code == 2 and str(path) in refused.output and "-f" in refused.output
    assert path.read_text() == before
    assert tune(3, *QUICK, "-f", "-o", path).code == 0
    assert json.loads(path.read_text())["about"] != ""


def test_profiles_of_other_ranks_are_kept(written: tuple[Path, Finished]) -> None:
    path, _ = written
    both = path.with_name("both.json")
    finished = tune(2, *QUICK, "--add-to", path, "-o", both)
    assert finished.code == 0, finished.output
    profiles = json.loads(both.read_text())["profiles"]
    assert [profile["ranks"] for profile in profiles] == [3, 2]


def test_of_two_launches_what_speaks_against_the_library_counts(
    written: tuple[Path, Finished],
) -> None:
    path, _ = written
    again = path.with_name("again.json")
    finished = tune(3, *QUICK, "--add-to", path, "-o", again)
    assert finished.code == 0, finished.output
    (before,) = json.loads(path.read_text())["profiles"]
    (after,) = json.loads(again.read_text())["profiles"]
    for (size, old), (same_size, new) in zip(before["native"], after["native"], strict=True):
        assert size == same_size and new <= old
    assert len(before["own"]) == len(after["own"])
    times = {(own["algorithm"], own["segment_bytes"], own["wire"]): own for own in after["own"]}
    for own in before["own"]:
        now = times[own["algorithm"], own["segment_bytes"], own["wire"]]
        for (size, old), (same_size, new) in zip(own["times"], now["times"], strict=True):
            assert size == same_size and new >= old


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-e", "1"], ["-e", "1024"]),
        (["--wire", "e9m9"], ["e9m9"]),
        (["--segments", "1"], ["--segments", "64"]),
        (["-o", "/no/such/folder/table.json"], ["/no/such/folder"]),
        (["--add-to", "/no/such.json", "-o", "unused.json"], ["/no/such.json"]),
        (["--rounds", "0"], ["--rounds"]),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: list[str], said: list[str]) -> None:
    finished = tune(2, "--quick", *arguments)
    assert finished.code == 2
    assert all(word in finished.output for word in said), finished.output


def test_one_rank_is_refused(tmp_path: Path) -> None:
    finished = tune(1, *QUICK, "-o", tmp_path / "table.json")
    assert finished.code == 2 and "2 or more" in finished.output
    assert not list(tmp_path.iterdir())


def test_help_has_examples() -> None:
    finished = tune(1, "--help")
    assert finished.code == 0 and "mpirun -n 4 cpd-tune" in finished.output
