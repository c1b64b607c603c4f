"""All formats beyond `eXmY` through quantize, encode and decode, bit for bit."""

import numpy as np
import patterns
import pytest
import reference as ref
import reference_formats as formats
import torch
from patterns import floats, same_bits

import cpdcomm

BITS = [2, 3, 4, 8, 12, 16, 24]
BFP = [*(f"bfp{bits}" for bits in BITS), "bfp8:8", "bfp5:24", "bfp4:1024"]
INT = [*(f"int{bits}" for bits in BITS), "int8:8", "int4:40", "int6:1024"]
SIGN = ["sign", "sign:8", "sign:200"]
BLOCKS = [*BFP, *formats.MX, *INT, *SIGN]
NAMES = [*formats.FN, *BLOCKS]


def tensor(x):
    return torch.from_numpy(np.array(x, dtype=np.float32))


def holds(x, name):
    """quantize, encode and decode of x are the reference's."""
    want = formats.encode(x, name)
    data = cpdcomm.encode(tensor(x), name)
    wrong = np.flatnonzero(data.numpy() != want)
    assert not wrong.size, f"{wrong.size} of {want.size} bytes differ, the first at {wrong[:8]}"
    value = formats.decode(want, name, x.size)
    same_bits(cpdcomm.quantize(tensor(x), name).numpy(), value, "quantize")
    same_bits(cpdcomm.decode(data, name, x.size).numpy(), value, "decode")


def element_probe(name):
    """What shows the boundaries of a format's elements."""
    spec = formats.parse(name)
    if spec.element in formats.FN:
        return patterns.probe(*formats.FN[spec.element])
    return patterns.probe(5, 2)


def block_probe(spec):
    """One kind of input a block, 3 of each and a partial one; the scales from 2^-149 to FLT_MAX."""
    rng = np.random.default_rng(spec.bits)
    size = spec.block
    pieces = [np.zeros(size), np.full(size, -0.0)]
    for power in [-149, -148, -140, -130, -127, -126, -125, -100, -20, 0, 20, 100, 125, 127]:
        normal = np.clip(rng.standard_normal((2, size)), -1.99, 1.99)
        spread = np.exp2(-rng.integers(0, 30, size)) * rng.choice([-1, 1], size)
        ties = (rng.integers(0, 256, size) + 0.5) / 128 * rng.choice([-1, 1], size)
        near = np.nextafter(ties.astype(np.float32), np.float32(9) * rng.choice([-1, 1], size))
        ties[0] = near[0] = 1.0
        pieces += [np.ldexp(piece, power) for piece in (*normal, spread, ties, near)]
    pieces += [np.full(size, formats.LARGEST), np.full(size, -(2.0**-149))]
    pieces.append(np.where(rng.random(size) < 0.5, formats.LARGEST, rng.standard_normal(size)))
    for bad in (np.inf, -np.inf, np.nan):
        piece = rng.standard_normal(size)
        piece[rng.integers(size)] = bad
        pieces.append(piece)
    x = np.stack(pieces).astype(np.float32)
    return rng.permutation(x).ravel()[: x.size - size // 2 - 1]


def exponents(spec):
    """A block of every exponent, that value and smaller ones."""
    rng = np.random.default_rng(1)
    top = (np.arange(255, dtype=np.uint32) << 23) | rng.integers(0, 1 << 23, 255, dtype=np.uint32)
    x = np.ldexp(rng.uniform(-1, 1, (255, spec.block)), -rng.integers(0, 9, (255, spec.block)))
    x = x * floats(top)[:, None].astype(np.float64)
    x[:, spec.block // 2] = floats(top)
    return x.astype(np.float32).ravel()


# --- values and bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_exponent_and_special(name):
    holds(element_probe(name), name)
    bits = np.random.default_rng(2).integers(0, 1 << 32, 20_003, dtype=np.uint32)
    holds(floats(bits), name)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_every_kind(name):
    holds(block_probe(formats.parse(name)), name)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_every_exponent(name):
    holds(exponents(formats.parse(name)), name)


@pytest.mark.parametrize("name", NAMES)
def test_partial_blocks_and_unaligned_tensors(name):
    rng = np.random.default_rng(3)
    block = max(8, formats.parse(name).block)
    x = rng.standard_normal(2 * block + 40).astype(np.float32)
    for count in {*range(18), block - 1, block, block + 1, 2 * block, 2 * block + 17}:
        start = count % 5
        holds(x[start : start + count], name)


@pytest.mark.parametrize("name", NAMES)
def test_large_tensors(name):
    """Long enough for every thread, and of an odd length."""
    rng = np.random.default_rng(4)
    holds(rng.standard_normal((1 << 17) + 13).astype(np.float32), name)


@pytest.mark.parametrize("name", [*formats.FN, "bfp8", "mxfp4", "int8"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_fp32_and_rounded_back(name, dtype):
    x = (torch.randn(3001, generator=torch.Generator().manual_seed(5)) * 100).to(dtype)
    want = torch.from_numpy(formats.quantize(x.to(torch.float32).numpy(), name)).to(dtype)
    got = cpdcomm.quantize(x, name)
    assert got.dtype == dtype
    assert torch.equal(got.view(torch.int16), want.view(torch.int16))


def test_the_mean_of_sign_is_summed_in_lanes():
    """2^60 + 2^36 is a tie in FP32, which a sum of 2^7s breaks unless 2^60 swallows them singly."""
    rng = np.random.default_rng(9)
    x = np.zeros((2000, 64), np.float32)
    for block in x:
        block[rng.choice(64, 3, replace=False)] = 2.0**7
        block[rng.choice(64, 2, replace=False)] = 2.0**60, 2.0**36
    mean = cpdcomm.quantize(tensor(x.ravel()), "sign:64")[::64]
    assert set(mean.tolist()) == {2.0**54, 2.0**54 + 2.0**31}  # the sample has both
    holds(x.ravel(), "sign:64")


# --- bytes of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_decode_of_arbitrary_bytes(name):
    rng = np.random.default_rng(6)
    for count in (1, 7, 700, 5001):
        data = rng.integers(0, 256, formats.encode(np.zeros(count, np.float32), name).size)
        data = data.astype(np.uint8)
        got = cpdcomm.decode(torch.from_numpy(data), name, count)
        same_bits(got.numpy(), formats.decode(data, name, count))


@pytest.mark.parametrize("name", formats.FN)
def test_codes_survive(name):
    bits = formats.parse(name).bits
    data = ref.pack(np.arange(1 << bits), bits)
    value = cpdcomm.decode(torch.from_numpy(data), name, 1 << bits)
    back = ref.unpack(cpdcomm.encode(value, name).numpy(), bits, 1 << bits)
    number = ~torch.isnan(value).numpy()
    assert np.array_equal(back[number], np.arange(1 << bits)[number])


# --- what holds of every cast ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [*formats.FN, *BFP, *formats.MX])
def test_idempotent(name):
    """Where scales are powers of two; a rounded FP32 scale need not come back."""
    spec = formats.parse(name)
    x = block_probe(spec) if spec.block else element_probe(name)
    once = cpdcomm.quantize(tensor(x), name)
    same_bits(cpdcomm.quantize(once, name).numpy(), once.numpy())


@pytest.mark.parametrize("name", NAMES)
def test_symmetric_in_sign(name):
    x = np.random.default_rng(7).standard_normal(5001).astype(np.float32)
    there, back = cpdcomm.quantize(tensor(x), name), cpdcomm.quantize(tensor(-x), name)
    assert torch.equal(there, -back)


@pytest.mark.parametrize("name", formats.FN)
def test_monotone(name):
    x = np.sort(element_probe(name))
    x = x[np.isfinite(x)]
    assert (np.diff(cpdcomm.quantize(tensor(x), name).numpy()) >= 0).all()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_power_of_two_scales_the_result(name):
    """Nothing but exponents changes, as long as nothing is subnormal or saturates."""
    x = np.random.default_rng(8).standard_normal(3001).astype(np.float32)
    want = cpdcomm.quantize(tensor(x), name) * 2.0**40
    assert torch.equal(cpdcomm.quantize(tensor(x) * 2.0**40, name), want)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["bfp", "bfp1", "bfp25", "bfp8:", "bfp8:7", "bfp8:12", "bfp8:65544", "int1", "int25", "int4:4"]
    + ["sign:0", "sign:9", "sign8", "mxfp5", "mxfp4:32", "mxint8:8", "e5m2fn", "e4m3fn:8"],
)
def test_no_such_format(name):
    with pytest.raises(ValueError) as error:
        cpdcomm.quantize(torch.ones(8), name)
    assert name in str(error.value)


@pytest.mark.parametrize("name", BLOCKS)
def test_decode_of_a_wrong_size(name):
    size = cpdcomm.encode(torch.ones(100), name).numel()
    for wrong in (size - 1, size + 1):
        with pytest.raises(ValueError):
            cpdcomm.decode(torch.zeros(wrong, dtype=torch.uint8), name, 100)
