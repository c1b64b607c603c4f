"""perf/ddp-step: what it writes, and its picture."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTENDERS = ["alone", "gloo", "gloo-bf16", "cpd:fp32", "cpd:e4m3"]


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("step") / "step.json"
    small = "--width 64 --layers 2 --steps 30 --warmups 1 --learning-rate 0.3".split()
    command = [ROOT / "perf/ddp-step", *small, "--contenders", ",".join(CONTENDERS), "-J", path]
    end = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert end.returncode == 0, end.stderr
    assert all(name in end.stdout for name in CONTENDERS), end.stdout
    return path, json.loads(path.read_text())


def test_every_contender_is_timed_and_learns(step: tuple[Path, dict[str, Any]]) -> None:
    _, found = step
    assert [row["contender"] for row in found["results"]] == CONTENDERS
    for row in found["results"]:
        assert len(row["all_seconds"]) == 30 and row["seconds"] > 0
        assert sum(row["losses"][-5:]) < 0.8 * sum(row["losses"][:5]), row["losses"]


def test_sums_in_full_width_give_the_losses_of_gloo(step: tuple[Path, dict[str, Any]]) -> None:
    losses = {row["contender"]: row["losses"] for row in step[1]["results"]}
    assert losses["cpd:fp32"] == pytest.approx(losses["gloo"], rel=1e-3)
    assert losses["cpd:e4m3"] != losses["gloo"]


def test_the_picture(step: tuple[Path, dict[str, Any]]) -> None:
    path, _ = step
    end = subprocess.run([ROOT / "perf/plot", "ddp-step", path], capture_output=True, text=True)
    assert end.returncode == 0, end.stderr
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_contender_is_named() -> None:
    command = [ROOT / "perf/ddp-step", "--contenders", "glue", "--steps", "1"]
    end = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert end.returncode != 0
    assert "unknown contender 'glue': known are alone, gloo" in end.stderr + end.stdout
