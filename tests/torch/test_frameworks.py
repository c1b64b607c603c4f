"""Trainers that other people wrote, as adapters/torch/README.md says to use them."""

import mpirun
import pytest


def trained(tmp_path, script, **environment):
    """What each of two ranks has written: DDP, learned, compressed, and a hash of the model."""
    end = mpirun.launch(
        script, 2, tmp_path, timeout=200.0, launcher="torchrun", PYTHONHASHSEED="0", **environment
    )
    assert end.code == 0, end.output
    first, second = ((tmp_path / name).read_text() for name in ("0", "1"))
    assert first == second, end.output
    assert first.startswith("['DistributedDataParallel', True, True]"), first


def test_accelerate(tmp_path):
    pytest.importorskip("accelerate")
    trained(tmp_path, "with_accelerate.py", ACCELERATE_USE_CPU="1")


def test_lightning(tmp_path):
    pytest.importorskip("lightning")
    trained(tmp_path, "with_lightning.py", CPDCOMM_WIRE="e4m3")
