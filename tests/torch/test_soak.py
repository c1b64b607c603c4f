"""Training for long does not take more memory: SOAK says how many seconds (4)."""

import os
import re

import mpirun
import pytest

ALLOWED_KIB = 4096  # what allocators take now and then; a leak of one bucket a step takes far more


@pytest.mark.parametrize("launcher", ["mpirun", "torchrun"])
def test_memory_does_not_grow(launcher):
    seconds = float(os.environ.get("SOAK", 4))
    end = mpirun.launch("soak.py", 2, seconds, timeout=2 * seconds + 600, launcher=launcher)
    assert end.code == 0, end.output
    found = re.search(r"(\d+) steps of 4 models, (-?\d+) KiB more", end.output)
    assert found, end.output
    print(found[0])
    assert int(found[1]) >= 300 and int(found[2]) < ALLOWED_KIB, found[0]
