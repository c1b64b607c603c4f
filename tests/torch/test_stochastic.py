"""Stochastic rounding of all formats: the reference's bits, neighbours only, and no bias."""

import math

import numpy as np
import patterns
import pytest
import reference as ref
import reference_formats as formats
import reference_random
import torch
from patterns import floats, same_bits

import cpdcomm

FLOATS = ["e4m3", "e5m2", "e3m0", "e1m2", "e8m7", "e5m10", "e8m0", "e8m22", *formats.FN]
BLOCKS = ["bfp2", "bfp8", "bfp4:24", "bfp24", *formats.MX, "int4", "int8:8", "int24", "sign"]
NAMES = [*FLOATS, *BLOCKS]
SEED = 20_240_917


def tensor(x):
    return torch.from_numpy(np.array(x, dtype=np.float32))


def drawn(x, name, seed=SEED, **kwargs):
    """The library's stochastic quantize."""
    return cpdcomm.quantize(tensor(x), name, rounding="stochastic", seed=seed, **kwargs).numpy()


def probe(name, count=6003):
    """Every exponent, boundaries of the format, blocks of all scales; no two blocks alike."""
    rng = np.random.default_rng(1)
    spec = formats.parse(name)
    if not spec.block:
        return patterns.probe(*(formats.FN.get(name) or ref.exp_man(name)))
    scale = np.exp2(rng.integers(-150, 127, -(-count // spec.block))).repeat(spec.block)[:count]
    x = rng.standard_normal(count).clip(-1.9, 1.9) * np.exp2(-rng.integers(0, 12, count)) * scale
    return x.astype(np.float32)


# --- the reference's bits -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("saturate", [False, True])
def test_equals_the_reference(name, saturate):
    x = probe(name)
    words = reference_random.words(x.size, SEED)
    want = formats.encode(x, name, saturate, words)
    value = formats.decode(want, name, x.size)
    same_bits(drawn(x, name, saturate=saturate), value)
    data = cpdcomm.encode(tensor(x), name, saturate, rounding="stochastic", seed=SEED)
    assert np.array_equal(data.numpy(), want)


@pytest.mark.parametrize("name", ["e4m3", "e2m1fn", "bfp8", "mxfp4", "int4"])
@pytest.mark.parametrize("seed", [0, 1, 0xFFFFFFFF])
def test_any_seed(name, seed):
    x = probe(name)
    want = formats.quantize(x, name, words=reference_random.words(x.size, seed))
    same_bits(drawn(x, name, seed), want)


@pytest.mark.parametrize("name", ["e5m2", "e4m3fn", "bfp8", "mxfp8e4m3", "int8"])
def test_any_number_of_threads(name):
    x = np.random.default_rng(2).standard_normal((1 << 18) + 5).astype(np.float32)
    want = formats.quantize(x, name, words=reference_random.words(x.size, SEED))
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 8):
            torch.set_num_threads(threads)
            same_bits(drawn(x, name), want, f"{threads} threads")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_draws_the_same(name):
    """The word belongs to the place in the tensor, whatever follows it."""
    x = probe(name)
    whole = drawn(x, name)
    block = max(1, formats.parse(name).block)
    for count in (block, 2 * block, 4 * block):
        same_bits(drawn(x[:count], name), whole[:count])


@pytest.mark.parametrize("name", ["e4m3", "bfp4"])
def test_without_a_seed_torch_draws_it(name):
    x = torch.full((4096,), 1.03)
    torch.manual_seed(3)
    first, second = (cpdcomm.quantize(x, name, rounding="stochastic") for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(cpdcomm.quantize(x, name, rounding="stochastic"), first)


# --- one of two neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sign"])
def test_values_of_the_format_do_not_change(name):
    x = formats.quantize(probe(name), name)
    if formats.parse(name).kind == "int":  # its scale need not come back: take one that does
        most = formats.parse(name).most
        x = np.random.default_rng(3).integers(-most, most + 1, 3000).astype(np.float32)
        x[:: formats.parse(name).block] = most
    for seed in range(5):
        same_bits(drawn(x, name, seed), x)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m0", "e1m2", *formats.FN])
@pytest.mark.parametrize("saturate", [False, True])
def test_one_of_two_neighbours(name, saturate):
    """By the list of the format's values; beyond the largest that or Inf."""
    bits = formats.parse(name).bits
    every = formats.decode(ref.pack(np.arange(1 << bits), bits), name, 1 << bits)
    ladder = np.unique(every[np.isfinite(every)])
    if name not in formats.FN and not saturate:
        ladder = np.concatenate([[-np.inf], ladder, [np.inf]]).astype(np.float32)
    x = probe(name)
    x = x[np.isfinite(x)]
    low = ladder[np.clip(np.searchsorted(ladder, x, "right") - 1, 0, None)]
    high = ladder[np.clip(np.searchsorted(ladder, x, "left"), None, ladder.size - 1)]
    for seed in range(5):
        got = drawn(x, name, seed, saturate=saturate)
        assert ((got == low) | (got == high)).all()


@pytest.mark.parametrize("name", ["bfp8", "bfp2", "int4", "mxint8"])
def test_one_of_two_multiples(name):
    spec = formats.parse(name)
    x = np.random.default_rng(4).uniform(-1, 1, 64 * spec.block).astype(np.float32)
    index = formats.flat_index(x.size, spec.block)
    stored = formats.stored_scales(x, spec, index, 64)
    step = stored if spec.kind == "int" else np.exp2(formats.scale_exponents(stored, spec))
    units = x.astype(np.float32) / step[index].astype(np.float32)
    got = drawn(x, name) / step[index]
    most = np.minimum(np.abs(units), spec.most)
    assert (np.abs(np.abs(np.rint(got)) - most) < 1).all()


# --- overflow and what is not finite --------------------------------------------------------------


def test_overflow_of_e4m3():
    """240 is the largest; up to 256 the upper neighbour is Inf, and from there on nothing else."""
    x = np.full(4096, 248.0, np.float32)
    got = drawn(x, "e4m3")
    assert set(got) == {np.float32(240), np.float32(np.inf)}
    assert abs(np.isinf(got).mean() - 0.5) < 4 * 0.5 / 64
    assert set(drawn(x, "e4m3", saturate=True)) == {np.float32(240)}
    assert set(drawn(np.full(64, -256.0), "e4m3")) == {np.float32(-np.inf)}
    assert set(drawn(np.full(64, 500.0), "e4m3fn")) == {np.float32(448)}


@pytest.mark.parametrize("name", NAMES)
def test_zeros_and_non_finite_values(name):
    x = floats(patterns.both_signs([0, 0x7F800000, *patterns.NAN_BITS]))
    x = np.concatenate([np.zeros(2048, np.float32), x])
    for seed in range(3):
        same_bits(drawn(x, name, seed), formats.quantize(x, name))


# --- no bias --------------------------------------------------------------------------------------

DRAWS = 1 << 24


def unbiased(got, low, step, fraction):
    """All are one of two neighbours, `fraction` of them the one further from zero."""
    up = int((got == low + step).sum())
    assert up + int((got == low).sum()) == got.numel()
    draws = got.numel()
    sigma = math.sqrt(draws * fraction * (1 - fraction))
    assert abs(up - draws * fraction) <= 4 * sigma, (up, draws * fraction, sigma)


@pytest.fixture(scope="module")
def buffer():
    """Reused: fresh memory for each case would take longer than the casts."""
    return torch.empty(DRAWS + (DRAWS // 63) + 64)


@pytest.mark.parametrize(
    ("name", "low", "step"),
    [
        ("e5m2", 1.25, 0.25),
        ("e5m2", 2.0**-16, 2.0**-16),  # subnormal
        ("e4m3", -1.5, -0.125),
        ("e4m3", 3 * 2.0**-9, 2.0**-9),
        ("e3m0", 2.0, 2.0),
        ("e3m0", 0.0, 0.25),
        ("e2m1fn", 4.0, 2.0),
        ("e2m1fn", 0.5, 0.5),
    ],
)
@pytest.mark.parametrize("fraction", [0.125, 0.4140625])
def test_floats_are_unbiased(name, low, step, fraction, buffer):
    x = buffer[:DRAWS].fill_(low + step * fraction)
    got = cpdcomm.quantize(x, name, rounding="stochastic", seed=SEED)
    unbiased(got, low, step, fraction)


@pytest.mark.parametrize(
    ("name", "largest", "quantum"),
    [
        ("bfp8", 127.0, 1.0),
        ("bfp8", 127 * 2.0**-140, 2.0**-133),  # its exponent field is 0: FP32 subnormals
        ("int4:64", 7.0, 1.0),
        ("int4:64", 7 * 2.0**-140, 2.0**-140),
    ],
)
@pytest.mark.parametrize("fraction", [0.125, 0.4140625])
def test_blocks_are_unbiased(name, largest, quantum, fraction, buffer):
    """The first value of a block sets its scale; the other 63 are drawn."""
    blocks = -(-DRAWS // 63)
    x = buffer[: blocks * 64].fill_((2 + fraction) * quantum).view(blocks, 64)
    x[:, 0] = largest
    got = cpdcomm.quantize(x, name, rounding="stochastic", seed=SEED)[:, 1:]
    unbiased(got, 2 * quantum, quantum, fraction)
