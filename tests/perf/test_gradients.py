"""Captured gradients: what the command makes, and the file of them that is committed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from training import batches, data, model
from training.recipe import DIGITS, learning_rate

from cpdperf import gradients

COMMITTED = Path(__file__).parents[2] / "perf" / "data" / "gradients.npy"
PARAMETERS = 29_162
RECIPE = dataclasses.replace(DIGITS, nodes=1, micro_batch=16)


@pytest.fixture(scope="module")
def images():
    return data.load(None)


@pytest.fixture(scope="module")
def rows(images):
    """Three ranks' gradients after two updates."""
    return gradients.capture(images, RECIPE, ranks=3, step=2, seed=0)


def expect_gradients(rows, ranks):
    assert rows.shape == (ranks, PARAMETERS)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert 0.5 < (rows != 0).mean() <= 1
    assert len({row.tobytes() for row in rows}) == ranks


def test_rows_are_gradients_of_their_own(rows):
    expect_gradients(rows, 3)


def test_the_same_in_every_run(images, rows):
    again = gradients.capture(images, RECIPE, ranks=3, step=2, seed=0)
    assert again.tobytes() == rows.tobytes()


def test_seed_and_step_matter(images, rows):
    other_seed = gradients.capture(images, RECIPE, ranks=3, step=2, seed=1)
    other_step = gradients.capture(images, RECIPE, ranks=3, step=1, seed=0)
    assert not np.array_equal(other_seed, rows)
    assert not np.array_equal(other_step, rows)


def test_rows_are_those_of_plain_training(images, rows):
    """Trains on the ranks' images as one batch, whose gradient is the mean of theirs."""
    layout = batches.Layout(rank=0, ranks=1, nodes=3, micro_batch=16)
    steps = list(batches.epoch_batches(images, layout, seed=0, epoch=0))[:3]
    network = model.build(1, 8, 10, seed=0)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=RECIPE.lr,
        momentum=RECIPE.momentum,
        weight_decay=RECIPE.weight_decay,
    )
    total_steps = RECIPE.epochs * layout.steps_per_epoch(len(images.train_labels))
    for step in range(2):
        optimizer.param_groups[0]["lr"] = learning_rate(RECIPE, step, total_steps)
        optimizer.zero_grad()
        inputs, labels = batches.joined(steps[step])
        cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    for row, (inputs, labels) in zip(rows, steps[2], strict=True):
        optimizer.zero_grad()
        cross_entropy(network(inputs), labels).backward()
        wanted = torch.cat([parameter.grad.reshape(-1) for parameter in network.parameters()])
        np.testing.assert_allclose(row, wanted.numpy(), rtol=1e-3, atol=1e-6)


def test_committed_file():
    rows = np.load(COMMITTED)
    expect_gradients(rows, 8)
    assert COMMITTED.stat().st_size < 1_000_000


def test_description():
    rows = np.array([[0, 1, -2, 4], [0.5, 8, 1, 1]], dtype=np.float32)
    text = gradients.describe(rows)
    assert text.startswith("2 x 4 values, 12.5 % zeros")
    assert "smallest -1" in text and "median 0" in text and "largest 3" in text
    assert gradients.describe(np.zeros((1, 2))) == "1 x 2 values, all zero"


def run(capsys, *arguments):
    """Exit code and what was said on stderr."""
    code = gradients.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


QUICK = ("--ranks", 2, "--step", 0)


def test_command_writes_the_file(tmp_path, capsys):
    out = tmp_path / "new.npy"
    assert run(capsys, *QUICK, "--out", out) == (0, "")
    expect_gradients(np.load(out), 2)
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_is_overwritten(tmp_path, capsys):
    out = tmp_path / "kept.npy"
    out.write_text("results of a long night")
    code, said = run(capsys, *QUICK, "--out", out)
    assert code == 2
    assert str(out) in said and "--force" in said
    assert out.read_text() == "results of a long night"
    assert run(capsys, *QUICK, "--out", out, "--force") == (0, "")
    expect_gradients(np.load(out), 2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--step", 200, "--ranks", 8], "allowed is 0 to 199"),
        (["--micro-batch", 2000], "only 1297"),
        (["--data-root", "nowhere"], "data_batch_1.bin"),
        (["--out", "nowhere/x.npy"], "no folder nowhere"),
        (["--out", "x.bin"], "must end in .npy"),
    ],
)
def test_what_cannot_be_is_explained(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, *QUICK, *arguments)
    assert code == 2
    assert said.startswith("error: ") and reason in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--step", "-1"], ["--ranks", "0"], ["--ranks", "two"]])
def test_numbers_are_checked(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        gradients.main(arguments)
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err
