"""cpd-error-growth: the file that it writes, and that errors grow as the algorithms let them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "perf/schema/error_growth.schema.json").read_text())
RECORDED = sorted((ROOT / "perf/results").glob("*/error-growth.json"))


def program() -> Path:
    folder = Path(os.environ.get("CPDCOMM_PERF_BIN", ROOT / ".venv/bin"))
    found = folder / "cpd-error-growth"
    assert found.exists(), f"no {found}: run scripts/setup, or set CPDCOMM_PERF_BIN to its folder"
    return found


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("growth") / "growth.json"
    command = [program(), "--ranks", "2,16", "--wire", "e4m3", "--values", "4096", "-J", path]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return json.loads(path.read_text())


def test_the_file_follows_the_schema(record: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert record["command"][0] == "cpd-error-growth" and record["values"] == 4096
    assert record["machine"]["cores"] == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_results_follow_the_schema(path: Path) -> None:
    jsonschema.validate(json.loads(path.read_text()), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_a_ring_of_many_ranks_loses_more_than_direct(record: dict[str, Any]) -> None:
    error = {(r["ranks"], r["algorithm"]): r["rel_rms"] for r in record["results"]}
    assert len(error) == 2 * 4
    assert error[16, "ring"] > 1.5 * error[16, "direct"]
    assert error[16, "ring"] > error[2, "ring"] > 0.01
