"""torch's own distributed tests against backend cpd: all that gloo passes on this machine.

Both backends get the same selection. What cpd cannot pass is in suite/exceptions.json, each with
its reason, and must fail here, so that the list does not outlive its reasons.
"""

import json
from pathlib import Path

import mpirun
import pytest
import warm

SUITE = Path(__file__).parent / "suite"
RANKS = 3
SECONDS = 900.0
OF_ANOTHER_TORCH = 10  # tests that one version has and another has not


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each test gave, by backend."""
    return {backend: run(backend, tmp_path_factory.mktemp("suite")) for backend in ("gloo", "cpd")}


def run(backend, folder):
    out = folder / f"{backend}.json"
    command = [warm.python(), SUITE / "run.py", "--backend", backend, "--ranks", RANKS]
    end = mpirun.run([*command, "--names", SUITE / "selection.json", "--out", out], SECONDS)
    assert out.exists(), end.output
    return json.loads(out.read_text())


def test_the_selection_is_what_gloo_passes(found):
    """Else what torch skips, or has no longer, would count as passed."""
    others = {
        name: (result["outcome"], result["text"][-600:])
        for name, result in found["gloo"].items()
        if result["outcome"] != "passed"
    }
    assert not others, others
    selection = json.loads((SUITE / "selection.json").read_text())
    assert len(set(selection) - set(found["gloo"])) < OF_ANOTHER_TORCH


def test_cpd_passes_what_gloo_passes(found):
    exceptions = json.loads((SUITE / "exceptions.json").read_text())
    failed = {
        name: result["text"][-2000:]
        for name, result in found["cpd"].items()
        if result["outcome"] != "passed"
    }
    wrong = {name: text for name, text in failed.items() if name not in exceptions}
    assert not wrong, "\n\n".join(f"--- {name}\n{text}" for name, text in wrong.items())
    assert set(exceptions) == set(failed), f"pass now: {set(exceptions) - set(failed)}"
