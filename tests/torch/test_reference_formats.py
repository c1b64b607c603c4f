"""The reference of the formats beyond `eXmY` is held by fractions and other people's types."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import patterns
import pytest
import reference as ref
import reference_formats as formats
import reference_geometry
import reference_random
import torch
from patterns import same_bits

DTYPES = {
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e3m2fn": ml_dtypes.float6_e3m2fn,
    "e2m3fn": ml_dtypes.float6_e2m3fn,
    "e2m1fn": ml_dtypes.float4_e2m1fn,
    "e5m2": ml_dtypes.float8_e5m2,
}
LARGEST = {"e4m3fn": 448, "e3m2fn": 28, "e2m3fn": 7.5, "e2m1fn": 6, "e5m2": 57344}


def f32(*values):
    return np.array(values, dtype=np.float32)


def sample(seed=0, count=100_000):
    exp_man = [(4, 3), (3, 2), (2, 3), (2, 1), (5, 2)]
    bits = np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint32)
    return np.concatenate([*(patterns.probe(*each) for each in exp_man), patterns.floats(bits)])


# --- random words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "want"),
    [
        (0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (0xFFFFFFFF, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ],
)
def test_philox_gives_the_published_answers(fill, want):
    assert [int(word) for word in reference_random.philox([fill] * 4, [fill] * 2)] == want


def test_words_do_not_depend_on_the_cut():
    whole = reference_random.words(100, 7, 3, phase=2, rank=5, tensor=1)
    for first in range(12):
        piece = reference_random.words(50, 7, 3, phase=2, rank=5, tensor=1, first=first)
        assert np.array_equal(piece, whole[first : first + 50])
    high = reference_random.words(1, 7, 3, phase=2, first=1 << 34)
    assert high[0] == reference_random.philox([0, (2 << 16) + 1, 0, 0], (7, 3))[0]


# --- fn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", formats.FN)
def test_fn_equals_ml_dtypes_where_it_is_finite(name):
    x = np.clip(sample(), -LARGEST[name], LARGEST[name])
    x = x[~np.isnan(x)]
    with np.errstate(under="ignore"):
        theirs = x.astype(DTYPES[name])
    codes, scales = formats.codes_of(x, name)
    assert scales is None
    assert np.array_equal(codes, theirs.view(np.uint8))
    every = np.arange(1 << formats.parse(name).bits, dtype=np.uint8)
    want = every.view(DTYPES[name]).astype(np.float32)
    got = formats.decode(ref.pack(every, formats.parse(name).bits), name, every.size)
    same_bits(got, np.where(np.isnan(want), formats.NAN, want))


@pytest.mark.parametrize(
    ("name", "dtype"), [("e4m3fn", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)]
)
def test_8_bits_equal_torch(name, dtype):
    x = np.clip(sample(1), -LARGEST[name], LARGEST[name])
    x = x[~np.isnan(x)]
    codes, _ = formats.codes_of(x, name)
    assert np.array_equal(codes, torch.from_numpy(x).to(dtype).view(torch.uint8).numpy())


@pytest.mark.parametrize("name", formats.FN)
def test_fn_beyond_the_largest(name):
    top = LARGEST[name]
    x = f32(top * 1.01, -top * 4, 3e38, np.inf, -np.inf, np.nan, -np.nan)
    if name == "e4m3fn":
        want = f32(top, -top, top, *[formats.NAN] * 4)
    else:
        want = f32(top, -top, top, top, -top, top, -top)
    same_bits(formats.quantize(x, name), want)


# --- blocks against exact fractions ---------------------------------------------------------------

SCALED = [1.0, 2.0**-100, 2.0**-126, 2.0**-140, 2.0**-149, 2.0**60, 2.0**125]


def blocks_of(rng, block):
    """Blocks of finite values of every magnitude."""
    for scale in SCALED:
        values = rng.standard_normal(block) * np.exp2(rng.integers(-12, 1, block))
        yield (np.clip(values, -7.9, 7.9) * scale).astype(np.float32)
    yield np.exp2(rng.integers(-140, -100, block)).astype(np.float32)  # powers of two
    yield f32(*[formats.LARGEST, -1.0] * (block // 2))


TOP = Fraction(float(formats.LARGEST))


def fl32(exact):
    """A fraction rounded once to FP32, a fraction again."""
    exact = Fraction(exact)
    if exact == 0:
        return exact
    low = exact.numerator.bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** low:
        low -= 1
    unit = Fraction(2) ** (max(low, -126) - 23)
    return round(exact / unit) * unit


def nearest(exact, most):
    return max(-most, min(most, round(exact)))


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16, 24])
def test_bfp_equals_exact_fractions(bits):
    rng = np.random.default_rng(bits)
    for x in blocks_of(rng, 64):
        amax = max(abs(Fraction(float(v))) for v in x)
        top = math.frexp(float(amax))[1] if amax >= Fraction(2) ** -126 else -126
        quantum = Fraction(2) ** (top - (bits - 1))
        most = 2 ** (bits - 1) - 1
        want = [float(nearest(Fraction(float(v)) / quantum, most) * quantum) for v in x]
        same_bits(formats.quantize(x, f"bfp{bits}"), f32(*want) + np.float32(0))


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16, 24])
def test_int_equals_exact_fractions(bits):
    most = 2 ** (bits - 1) - 1
    for x in blocks_of(np.random.default_rng(bits), 64):
        amax = max(abs(Fraction(float(v))) for v in x)
        scale = fl32(amax / most)
        if scale == 0:
            want = [0.0] * x.size
        else:
            codes = [nearest(fl32(Fraction(float(v)) / scale), most) for v in x]
            want = [math.copysign(min(abs(k * scale), TOP), k) for k in codes]
        same_bits(formats.quantize(x, f"int{bits}:64"), f32(*(float(fl32(v)) for v in want)))


@pytest.mark.parametrize("name", formats.MX)
def test_mx_equals_the_element_types_and_e8m0(name):
    element = formats.MX[name]
    for x in blocks_of(np.random.default_rng(2), 32):
        codes, scales = formats.codes_of(x, name)
        power = math.frexp(float(np.abs(x).max()))[1] - 1 - formats.MX_EMAX[element]
        power = max(-127, min(127, power)) if x.any() else -127
        e8m0 = np.array(2.0**power).astype(ml_dtypes.float8_e8m0fnu)
        assert scales.tolist() == [int(e8m0.view(np.uint8))]
        scaled = np.ldexp(x.astype(np.float64), -power)  # exact
        if element == "int":
            want = np.clip(np.rint(scaled * 64), -127, 127)
            assert np.array_equal(codes.astype(np.uint8).view(np.int8), want)
            value = want / 64
        else:
            top = LARGEST[element]
            elements = np.clip(scaled, -top, top).astype(np.float32).astype(DTYPES[element])
            assert np.array_equal(codes, elements.view(np.uint8))
            value = elements.astype(np.float64)
        value = np.ldexp(value, power).astype(np.float32)
        value = value + np.float32(0) if element == "int" else value
        same_bits(formats.quantize(x, name), value)


@pytest.mark.parametrize("name", ["bfp8:8", "mxfp4", "mxint8", "int8:8", "sign:8"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_non_finite_value_spoils_its_block_alone(name, bad):
    block = formats.parse(name).block
    x = np.ones(3 * block, np.float32)
    x[block + 2] = bad
    got = formats.quantize(x, name).reshape(3, block)
    assert np.isfinite(got[[0, 2]]).all()
    same_bits(got[1], np.full(block, formats.NAN))


def test_sign_by_hand():
    same_bits(formats.quantize(f32(1, -2, 0, -0.0, 5), "sign"), f32(1.6, -1.6, 1.6, -1.6, 1.6))
    # Lanes: 2^60 and -2^60 meet only at the end of the tree; 1 is lost beside the first of them.
    x = f32(2.0**60, *[1.0] * 16)
    assert formats.quantize(x, "sign")[0] == np.float32((2.0**60 + 16) / 17)


def test_layout_by_hand():
    # bfp4: largest 1.0, f = 127, quantum 2^(1 - 3): 1 -> 4, -0.5 -> -2 (0xe), 0.25 -> 1
    assert formats.encode(f32(1.0, -0.5, 0.25), "bfp4").tolist() == [0xE4, 0x01, 127]
    assert formats.encode(f32(-7.0, 3.0), "int4").tobytes() == b"\x39" + f32(1.0).tobytes()
    assert formats.encode(f32(-7.0, 3.0), "sign").tobytes() == b"\x01" + f32(5.0).tobytes()


# --- stochastic rounding against exact fractions --------------------------------------------------


def up_exactly(units, word):
    """floor(units), plus one where 32 digits of the rest and the word carry."""
    low = math.floor(units)
    return low + (math.floor((units - low) * 2**32) + word >= 1 << 32)


def test_stochastic_units_equal_exact_fractions():
    rng = np.random.default_rng(3)
    sig = np.concatenate([rng.integers(0, 1 << 24, 500), [1, 2, 3, (1 << 24) - 1, 1 << 23]])
    words = rng.integers(0, 1 << 32, sig.size)
    words[::5] = (1 << 32) - 1
    for place in range(0, 70, 3):
        got = ref.round_units(sig, np.zeros_like(sig), place, words)
        exact = [
            up_exactly(Fraction(int(s), 1 << place), int(w))
            for s, w in zip(sig, words, strict=True)
        ]
        assert got.tolist() == exact


# --- geometry -------------------------------------------------------------------------------------


def test_geometry_by_hand():
    geometry = reference_geometry
    assert geometry.flat((2, 3), 4).tolist() == [[0, 0, 0], [0, 1, 1]]
    assert geometry.tensor((2, 2)).tolist() == [[0, 0], [0, 0]]
    assert geometry.axes((2, 3), 0).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert geometry.axes((2, 3), -1).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert geometry.axes((2, 3), 1, 0).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert geometry.tiles((3, 3), 2).tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]
    assert geometry.tiles((3, 1, 2), 2, (0, 2)).tolist() == [[[0, 0]], [[0, 0]], [[1, 1]]]
    assert geometry.tiles((2, 1, 2), 2).tolist() == [[[0, 0]], [[1, 1]]]
