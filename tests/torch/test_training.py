"""The training recipe: a short comparison under mpirun, its data, and what it measures with."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import warm
from mpirun import mpirun_command, run
from training import configurations, data, identity, log, probe, recipe
from training.batches import Layout, epoch_batches

ROOT = Path(__file__).parents[2]
COMPARED = ["fp32", "e4m3-aps", "ddp-e4m3-aps"]
MINUTES = 60.0


def train(ranks, *arguments):
    """Runs the recipe, without mpirun for ranks=None."""
    launcher = [] if ranks is None else mpirun_command(ranks)
    command = [*launcher, warm.python(), "-m", "training.train", *arguments]
    return run(command, 5 * MINUTES, PYTHONPATH=str(ROOT))


def runs_of(folder):
    """The last record of each run, by the configuration's name."""
    return {r["configuration"]: r for r in log.read(folder) if r["record"] == "run"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a quick comparison on four ranks wrote."""
    path = tmp_path_factory.mktemp("training") / "quick"
    finished = train(4, "--quick", "--out", path, "--configs", *COMPARED)
    assert finished.code == 0, finished.output
    return path


def test_log_says_what_was_run(folder):
    header = log.read(folder)[0]
    assert header["record"] == "header"
    assert header["configurations"] == COMPARED
    assert (header["ranks"], header["nodes"], header["seeds"]) == (4, 8, 1)
    assert header["global_batch"] == 4 * 8 * header["micro_batch"]
    assert {"cpdcomm", "torch", "python"} <= header["versions"].keys()
    assert header["date"] and "--quick" in header["command"]


def test_every_epoch_has_a_record(folder):
    records = log.read(folder)
    for name in COMPARED:
        of_name = [r for r in records if r["record"] == "epoch" and r["configuration"] == name]
        assert [r["epoch"] for r in of_name] == list(range(1, records[0]["epochs"] + 1))
        assert all(math.isfinite(r["train_loss"]) for r in of_name)


@pytest.mark.parametrize("name", COMPARED)
def test_it_learns(folder, name):
    assert runs_of(folder)[name]["test_accuracy"] > 0.8  # chance is 0.1


def test_wire_bytes(folder):
    runs = runs_of(folder)
    assert runs["fp32"]["wire_ratio"] == pytest.approx(1, rel=0.02)
    assert runs["e4m3-aps"]["wire_ratio"] == pytest.approx(1 / 4, rel=0.05)
    assert runs["ddp-e4m3-aps"]["wire_ratio"] == pytest.approx(1 / 4, rel=0.05)


def test_ranks_end_with_the_same_bits(folder):
    for result in runs_of(folder).values():
        assert result["ranks_identical"] is True
        assert len(bytes.fromhex(result["parameters_sha256"])) == 32


def test_probe_sees_what_the_cast_loses(folder):
    runs = runs_of(folder)
    assert runs["fp32"]["rounded_to_zero"] == 0
    assert 0 < runs["e4m3-aps"]["rounded_to_zero"] < 1
    assert runs["fp32"]["gradient_error"] < 1e-6 < runs["e4m3-aps"]["gradient_error"] < 0.2
    assert runs["ddp-e4m3-aps"]["rounded_to_zero"] is None


def test_table_and_picture(folder):
    text = (folder / "table.md").read_text()
    assert all(f"| {name} |" in text for name in COMPARED)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_bits_in_every_run(folder, tmp_path):
    finished = train(4, "--quick", "--out", tmp_path, "--configs", "e4m3-aps")
    assert finished.code == 0, finished.output
    first, second = runs_of(folder)["e4m3-aps"], runs_of(tmp_path)["e4m3-aps"]
    assert first["parameters_sha256"] == second["parameters_sha256"]


def test_few_bits(tmp_path):
    """One and two bits learn; each way is what its name says."""
    names = ["ranks-int2-ef", "ranks-int2", "ranks-sign-majority", "sign-majority"]
    finished = train(4, "--quick", "--out", tmp_path, "--configs", *names)
    assert finished.code == 0, finished.output
    runs = runs_of(tmp_path)
    assert all(run["test_accuracy"] > 0.6 for run in runs.values()), runs
    digests = {run["parameters_sha256"] for run in runs.values()}
    assert len(digests) == len(names), "feedback and votes change what is learned"
    # A bit on the way to the owner and two back, of FP32's 64; five bits of eight nodes' votes.
    assert runs["ranks-sign-majority"]["wire_ratio"] == pytest.approx(3 / 64, rel=0.1)
    assert runs["sign-majority"]["wire_ratio"] == pytest.approx(7 / 64, rel=0.1)
    assert runs["ranks-int2-ef"]["rounded_to_zero"] is None
    assert runs["sign-majority"]["gradient_error"] is None


def test_votes_have_a_learning_rate_of_their_own():
    plan = recipe.Recipe(epochs=1, nodes=1, micro_batch=1, lr=0.5, vote_lr=0.1).for_votes()
    assert (plan.lr, plan.momentum) == (0.1, 0.0)


def test_nothing_is_overwritten(tmp_path):
    kept = tmp_path / "log.jsonl"
    kept.write_text("results of a long night")
    finished = train(2, "--quick", "--out", tmp_path)
    assert finished.code == 2
    assert "--force" in finished.output
    assert kept.read_text() == "results of a long night"


def test_missing_data_is_explained_once(tmp_path):
    finished = train(2, "--data-root", tmp_path / "nothing")
    assert finished.code == 2
    for expected in ("data_batch_1.bin", "test_batch.bin", "batches.meta.txt", "3073"):
        assert expected in finished.output
    assert finished.output.count("error: --data-root") == 1


@pytest.mark.parametrize("name", ["e4m3-apps", "e9m2", "ddp-", "fp32-aps-wide", "int2-ef"])
def test_unknown_configuration(name, tmp_path):
    finished = train(None, "--configs", name, "--out", tmp_path / "new")
    assert finished.code == 2
    assert f"--configs {name}" in finished.output
    assert not (tmp_path / "new").exists()


def test_too_few_images(tmp_path):
    finished = train(None, "--train-limit", "10", "--out", tmp_path / "new")
    assert finished.code == 2
    assert "only 10 training images" in finished.output


# --- CIFAR-10 -------------------------------------------------------------------------------------


def write_cifar(folder, batches=(1, 3), images=20):
    """Files of the official layout with noise in them; the pixels of a training file by number."""
    rng = np.random.default_rng(0)
    pixels = {}
    for name in [*(f"data_batch_{number}.bin" for number in batches), "test_batch.bin"]:
        records = rng.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(images) % 10
        records.tofile(folder / name)
        pixels[name] = records[:, 1:].reshape(images, 3, 32, 32)
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    return pixels


def test_cifar_files_are_read(tmp_path):
    pixels = write_cifar(tmp_path)
    images = data.load(tmp_path)
    expected = np.concatenate([pixels["data_batch_1.bin"], pixels["data_batch_3.bin"]])
    np.testing.assert_array_equal(images.train_images.numpy(), expected)
    np.testing.assert_array_equal(images.test_images.numpy(), pixels["test_batch.bin"])
    assert images.train_labels.tolist() == [i % 10 for i in range(20)] * 2
    assert images.class_names == list("abcdefghij")
    inputs = images.normalise(images.train_images)
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3)), torch.ones(3))


def test_train_limit_keeps_the_first_images(tmp_path):
    write_cifar(tmp_path)
    assert len(data.load(tmp_path, train_limit=7).train_labels) == 7


@pytest.mark.parametrize("missing", ["data_batch_1.bin", "test_batch.bin", "batches.meta.txt"])
def test_cifar_file_missing(tmp_path, missing):
    write_cifar(tmp_path, batches=(1,))
    (tmp_path / missing).unlink()
    with pytest.raises(data.DataError, match=rf"{missing} not found"):
        data.load(tmp_path)


def test_cifar_file_cut_short(tmp_path):
    write_cifar(tmp_path)
    whole = (tmp_path / "data_batch_3.bin").read_bytes()
    (tmp_path / "data_batch_3.bin").write_bytes(whole[:-1])
    with pytest.raises(data.DataError, match=r"data_batch_3.bin: \d+ bytes are not"):
        data.load(tmp_path)


def test_cifar_label_out_of_range(tmp_path):
    write_cifar(tmp_path)
    whole = bytearray((tmp_path / "test_batch.bin").read_bytes())
    whole[3073] = 10
    (tmp_path / "test_batch.bin").write_bytes(whole)
    with pytest.raises(data.DataError, match="label 10"):
        data.load(tmp_path)


def test_trains_on_cifar(tmp_path):
    write_cifar(tmp_path)
    arguments = ["--data-root", tmp_path, "--out", tmp_path / "out", "--max-steps", "2"]
    finished = train(None, *arguments, "--quick", "--nodes", "2", "--micro-batch", "5")
    assert finished.code == 0, finished.output
    assert log.read(tmp_path / "out")[0]["dataset"] == "cifar-10"


# --- the parts ------------------------------------------------------------------------------------


def test_digits_split_is_stratified_and_fixed():
    first, second = data.load(None), data.load(None)
    assert (len(first.train_labels), len(first.test_labels)) == (1297, 500)
    assert torch.equal(first.test_images, second.test_images)
    counts = torch.bincount(first.test_labels)
    assert counts.min() >= 48 and counts.max() <= 52


def gathered(images, seed, ranks, nodes, micro_batch):
    """The inputs of each step of an epoch, over all ranks and nodes in order."""
    of_ranks = [
        list(epoch_batches(images, Layout(rank, ranks, nodes, micro_batch), seed, epoch=0))
        for rank in range(ranks)
    ]
    return [
        torch.cat([inputs for of_rank in step for inputs, _ in of_rank])
        for step in zip(*of_ranks, strict=True)
    ]


@pytest.mark.parametrize("cifar", [False, True])
def test_batches_do_not_depend_on_the_number_of_ranks(tmp_path, cifar):
    write_cifar(tmp_path)
    images = data.load(tmp_path if cifar else None, train_limit=40)
    alone, shared = gathered(images, 0, 1, 8, 2), gathered(images, 0, 4, 2, 2)
    assert len(alone) == len(shared) == 2
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], gathered(images, 1, 1, 8, 2)[0])


def test_learning_rate_warms_up_and_falls():
    plan = recipe.Recipe(epochs=1, nodes=1, micro_batch=1, lr=0.5, vote_lr=0.1)
    rates = [recipe.learning_rate(plan, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert max(rates) == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize(
    ("largest", "parts", "exponent"),
    [
        (1.0, 1, 0),
        (1.0, 32, 5),
        (math.nextafter(1, 2), 32, 6),
        (0.75, 4, 2),
        (2.0**-149, 1, -149),
        (3.4028234663852886e38, 1, 128),
        (0.0, 32, 0),
        (math.inf, 32, 0),
    ],
)
def test_shared_exponent(largest, parts, exponent):
    assert probe.shared_exponent(largest, parts) == exponent


@pytest.mark.parametrize(
    ("wire", "exponent"), [("e3m0", 3), ("e4m3", 7), ("e5m2", 15), ("bf16", 127), ("e4m3fn", 8)]
)
def test_largest_exponent(wire, exponent):
    assert probe.largest_exponent(wire) == exponent


def test_configuration_names():
    kahan = configurations.parse("e3m0-aps:64-kahan")
    assert (kahan.wire, kahan.scaling, kahan.accumulate) == ("e3m0", "aps:64", "kahan")
    assert kahan.emulated and kahan.uses_aps
    plain = configurations.parse("ddp-fp32")
    assert (plain.wire, plain.scaling, plain.accumulate) == ("fp32", "none", "wide")
    assert not plain.emulated and not plain.uses_aps
    assert configurations.parse("e5m2").scaling == "aps"
    assert not configurations.parse("e5m2-none").uses_aps
    fed = configurations.parse("ranks-int2-ef")
    assert (fed.way, fed.wire, fed.scaling, fed.error_feedback) == ("ranks", "int2", "none", True)
    vote = configurations.parse("sign-majority")
    assert vote.votes and vote.emulated and not vote.error_feedback
    known = configurations.DEFAULTS | configurations.FEW_BITS
    assert all(configurations.parse(name).name == name for name in known)


def test_ranks_that_differ_are_found():
    same = identity.digest([torch.ones(3), torch.zeros(2, 2)])
    other = identity.digest([torch.ones(3), torch.tensor([[0.0, 0.0], [0.0, -0.0]])])
    assert identity.require_same([same, same]) == same.hex()
    with pytest.raises(identity.RanksDiffer, match=r"ranks \[1\]"):
        identity.require_same([same, other, same])


def test_log_has_null_where_a_loss_diverged(tmp_path):
    log.Log(tmp_path).write("epoch", {"train_loss": math.nan, "test_accuracy": 0.1})
    assert log.read(tmp_path) == [{"record": "epoch", "train_loss": None, "test_accuracy": 0.1}]


def test_folders_are_numbered(tmp_path):
    default = tmp_path / "runs" / "digits"
    folders = [log.prepare_folder(None, default, force=False).name for _ in range(3)]
    assert folders == ["digits", "digits-2", "digits-3"]
