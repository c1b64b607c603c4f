"""The casts and codes of the tensor operations, bit for bit, over all 8 x 24 formats."""

import math

import ml_dtypes
import numpy as np
import patterns
import pytest
import reference as ref
import torch
from patterns import bits_of, floats, same_bits

import cpdcomm

EXPONENTS = range(1, 9)
MANTISSAS = range(24)
LENGTHS = [0, 1, 7, 8, 9, 1001]
SPREAD = ["e4m3", "e5m2", "e3m0", "e1m4", "e2m1", "e8m0", "e5m10", "e8m7", "e6m9", "e8m22", "e8m23"]


def tensor(x):
    return torch.from_numpy(np.array(x, dtype=np.float32))


def array(t):
    """The FP32 values of a result, which must be FP32."""
    assert t.dtype == torch.float32
    return t.numpy()


def name(exp, man):
    return f"e{exp}m{man}"


def encoded(x, exp, man, saturate=False):
    """The reference's bytes."""
    return ref.pack(ref.encode(x, exp, man, saturate=saturate), ref.code_bits(exp, man))


def same_bytes(got, want):
    assert got.dtype == torch.uint8 and got.dim() == 1
    assert got.numel() == want.size
    wrong = np.flatnonzero(got.numpy() != want)
    assert not wrong.size, f"{wrong.size} bytes differ, the first at {wrong[:8]}"


# --- values, against the reference ----------------------------------------------------------------


@pytest.mark.parametrize("exp", EXPONENTS)
def test_float_quantize(exp):
    for man in MANTISSAS:
        x = patterns.probe(exp, man)
        same_bits(array(cpdcomm.float_quantize(tensor(x), exp, man)), ref.cast(x, exp, man))


@pytest.mark.parametrize("exp", EXPONENTS)
@pytest.mark.parametrize("saturate", [False, True])
def test_quantize(exp, saturate):
    for man in MANTISSAS:
        x = patterns.probe(exp, man, seed=1)
        got = cpdcomm.quantize(tensor(x), name(exp, man), saturate=saturate)
        same_bits(array(got), ref.cast(x, exp, man, saturate=saturate))


@pytest.mark.parametrize("exp", EXPONENTS)
@pytest.mark.parametrize("saturate", [False, True])
def test_encode(exp, saturate):
    for man in MANTISSAS:
        x = patterns.probe(exp, man, seed=2)
        got = cpdcomm.encode(tensor(x), name(exp, man), saturate=saturate)
        same_bytes(got, encoded(x, exp, man, saturate))


@pytest.mark.parametrize("alias", ["fp32", "bf16", "fp16"])
def test_aliases(alias):
    exp, man = ref.exp_man(alias)
    x = patterns.probe(exp, man, seed=3)
    data = encoded(x, exp, man)
    same_bits(array(cpdcomm.quantize(tensor(x), alias)), ref.cast(x, exp, man))
    same_bytes(cpdcomm.encode(tensor(x), alias), data)
    same_bits(array(cpdcomm.decode(torch.from_numpy(data), alias, x.size)), ref.cast(x, exp, man))


@pytest.mark.parametrize("fmt", SPREAD)
def test_large_tensors(fmt):
    """Long enough for every thread, and of an odd length."""
    exp, man = ref.exp_man(fmt)
    count = (1 << 18) + 3
    bits = np.random.default_rng(4).integers(0, 1 << 32, count, dtype=np.uint32)
    x = floats(bits)
    want = ref.cast(x, exp, man)
    same_bits(array(cpdcomm.quantize(tensor(x), fmt)), want)
    data = cpdcomm.encode(tensor(x), fmt)
    same_bytes(data, encoded(x, exp, man))
    same_bits(array(cpdcomm.decode(data, fmt, count)), want)


@pytest.mark.parametrize("fmt", SPREAD)
def test_short_and_unaligned_tensors(fmt):
    """Every tail of a SIMD loop, from addresses that are aligned to four bytes alone."""
    exp, man = ref.exp_man(fmt)
    x = patterns.probe(exp, man, seed=5)[:80]
    whole = tensor(x)
    for count in range(71):
        start = count % 5
        piece = slice(start, start + count)
        same_bits(array(cpdcomm.quantize(whole[piece], fmt)), ref.cast(x[piece], exp, man))
        same_bytes(cpdcomm.encode(whole[piece], fmt), encoded(x[piece], exp, man))


# --- values, against references that we did not write ---------------------------------------------


@pytest.mark.parametrize(("exp", "man", "dtype"), [(8, 7, torch.bfloat16), (5, 10, torch.float16)])
def test_values_equal_torch(exp, man, dtype):
    x = tensor(patterns.probe(exp, man, seed=6))
    number = ~torch.isnan(x)
    got = cpdcomm.float_quantize(x, exp, man)
    assert torch.isnan(got[~number]).all()
    same_bits(array(got[number]), array(x[number].to(dtype).to(torch.float32)))
    codes = cpdcomm.encode(x, name(exp, man)).view(torch.int16)
    assert torch.equal(codes[number], x[number].to(dtype).view(torch.int16))


@pytest.mark.parametrize(
    ("exp", "man", "dtype"),
    [
        (5, 10, np.float16),
        (8, 7, ml_dtypes.bfloat16),
        (5, 2, ml_dtypes.float8_e5m2),
        (4, 3, ml_dtypes.float8_e4m3),  # the IEEE-like one, with Inf
        (3, 4, ml_dtypes.float8_e3m4),
    ],
)
def test_values_equal_numpy_and_ml_dtypes(exp, man, dtype):
    x = patterns.probe(exp, man, seed=7)
    number = ~np.isnan(x)
    with np.errstate(all="ignore"):
        theirs = x.astype(dtype)
    got = array(cpdcomm.float_quantize(tensor(x), exp, man))
    assert np.isnan(got[~number]).all()
    same_bits(got[number], theirs[number].astype(np.float32))
    codes = cpdcomm.encode(tensor(x), name(exp, man)).numpy()
    assert np.array_equal(
        codes.view(theirs.view(f"u{theirs.itemsize}").dtype)[number],
        theirs.view(f"u{theirs.itemsize}")[number],
    )


@pytest.mark.parametrize(
    ("x", "exp", "man", "want"),
    [
        (248.0, 4, 3, math.inf),
        (255.99, 4, 3, math.inf),
        (247.99, 4, 3, 240.0),
        (2.0**-10, 4, 3, 0.0),
        (2.0**-10 * (1 + 2.0**-23), 4, 3, 2.0**-9),
        (2.0**-133, 8, 7, 2.0**-133),
        (3.0, 4, 0, 4.0),
        (-(2.0**-7), 4, 0, -0.0),
        (math.nan, 4, 0, math.inf),
        (1.75, 1, 2, math.inf),
        (1.0, 1, 0, 0.0),
    ],
)
def test_worked_examples(x, exp, man, want):
    want = np.float32([want])
    same_bits(array(cpdcomm.float_quantize(tensor([x]), exp, man)), want)
    same_bits(array(cpdcomm.float_quantize(tensor([-x]), exp, man)), -want if x == x else want)


# --- invariants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exp", EXPONENTS)
def test_idempotent_monotone_symmetric(exp):
    for man in MANTISSAS:
        x = patterns.probe(exp, man, seed=8)
        once = cpdcomm.float_quantize(tensor(x), exp, man)
        same_bits(array(cpdcomm.float_quantize(once, exp, man)), array(once))

        ordered = np.sort(x[~np.isnan(x)])
        rising = array(cpdcomm.float_quantize(tensor(ordered), exp, man))
        assert (rising[1:] >= rising[:-1]).all()

        number = floats(bits_of(x)[~np.isnan(x)])
        plus = array(cpdcomm.float_quantize(tensor(number), exp, man))
        minus = array(cpdcomm.float_quantize(tensor(-number), exp, man))
        same_bits(minus, floats(bits_of(plus) ^ patterns.SIGN))


@pytest.mark.parametrize("exp", EXPONENTS)
def test_every_code_survives(exp):
    """All codes of up to 16 bits, a sample of longer ones."""
    for man in MANTISSAS:
        bits = ref.code_bits(exp, man)
        if bits <= 16:
            codes = np.arange(1 << bits, dtype=np.uint32)
        else:
            codes = np.random.default_rng(man).integers(0, 1 << bits, 5001, dtype=np.uint32)
        data = torch.from_numpy(ref.pack(codes, bits))
        value = cpdcomm.decode(data, name(exp, man), codes.size)
        same_bits(array(value), ref.decode(codes, exp, man))
        back = ref.unpack(cpdcomm.encode(value, name(exp, man)).numpy(), bits, codes.size)
        number = ~np.isnan(array(value))
        assert np.array_equal(back[number], codes[number])
        if man and (exp, man) != ref.FP32:
            canonical = ((1 << exp) - 1) << man | 1 << (man - 1)
            assert (back[~number] == canonical).all()


@pytest.mark.parametrize("exp", EXPONENTS)
def test_sizes_and_round_trip(exp):
    for man in MANTISSAS:
        bits = ref.code_bits(exp, man)
        x = patterns.probe(exp, man, seed=9)
        for count in LENGTHS:
            data = cpdcomm.encode(tensor(x[:count]), name(exp, man))
            assert data.numel() == (count * bits + 7) // 8
            value = cpdcomm.decode(data, name(exp, man), count)
            assert value.shape == (count,)
            same_bits(array(value), ref.cast(x[:count], exp, man))


@pytest.mark.parametrize("exp", EXPONENTS)
def test_saturation_stops_at_the_largest_finite_value(exp):
    for man in MANTISSAS:
        if (exp, man) == ref.FP32:
            continue
        largest = float(ref.largest_finite(exp, man))
        x = tensor([3.4028234663852886e38, -3.4028234663852886e38, math.inf, -math.inf, math.nan])
        got = cpdcomm.quantize(x, name(exp, man), saturate=True).tolist()
        assert got[:4] == [largest, -largest, math.inf, -math.inf]
        assert math.isnan(got[4]) if man else got[4] == math.inf


# --- tensors --------------------------------------------------------------------------------------

CASTS = {
    "float_quantize": lambda x: cpdcomm.float_quantize(x, 4, 3),
    "quantize": lambda x: cpdcomm.quantize(x, "e4m3"),
    "identity": lambda x: cpdcomm.float_quantize(x, 8, 23),
    "fp32": lambda x: cpdcomm.quantize(x, "fp32"),
}
OPERATIONS = CASTS | {"encode": lambda x: cpdcomm.encode(x, "e4m3")}


def block():
    x = floats(np.random.default_rng(10).integers(0, 1 << 32, 4 * 6 * 10, dtype=np.uint32))
    return tensor(x).reshape(4, 6, 10)


VIEWS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 2),
    "strided": lambda x: x[::2, 1::3, ::3],
    "expanded": lambda x: x[:, :1].expand(4, 6, 10),
    "offset": lambda x: x.reshape(-1)[3:],
    "scalar": lambda x: x[1, 2, 3],
    "empty": lambda x: x[:0],
    "empty inside": lambda x: x[:, :, :0],
    "channels last": lambda x: x.reshape(2, 3, 5, 8).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("cast", CASTS)
def test_shapes_and_strides(cast, view):
    x = VIEWS[view](block())
    got = CASTS[cast](x)
    assert got.shape == x.shape and got.dtype == x.dtype
    exp, man = (4, 3) if cast in ("float_quantize", "quantize") else (8, 23)
    want = ref.cast(x.contiguous().numpy().reshape(-1), exp, man)
    same_bits(array(got.contiguous()).reshape(-1), want)


@pytest.mark.parametrize("view", VIEWS)
def test_codes_follow_the_order_of_the_elements(view):
    x = VIEWS[view](block())
    same_bytes(cpdcomm.encode(x, "e3m2"), encoded(x.contiguous().numpy().reshape(-1), 3, 2))


def test_decode_takes_a_strided_view():
    codes = np.arange(64, dtype=np.uint32)
    data = torch.from_numpy(np.repeat(ref.pack(codes, 6), 2))[::2]
    same_bits(array(cpdcomm.decode(data, "e3m2", 64)), ref.decode(codes, 3, 2))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_input_is_untouched_and_not_shared(operation):
    x = block()
    before = bits_of(x.numpy()).copy()
    got = OPERATIONS[operation](x)
    assert np.array_equal(bits_of(x.numpy()), before)
    assert got.data_ptr() != x.data_ptr()
    got.zero_()
    assert np.array_equal(bits_of(x.numpy()), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("exp", EXPONENTS)
def test_half_types_are_computed_in_fp32_and_rounded_back(exp, dtype):
    """Every value of the type; a result outside it (e8m2 of the largest FP16) rounds to Inf."""
    x = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    wide = x.to(torch.float32).numpy()
    for man in (0, 1, 2, 3, 7, 9, 10, 15, 23):
        want = torch.from_numpy(ref.cast(wide, exp, man)).to(dtype)
        number = ~torch.isnan(want)
        for got in (cpdcomm.float_quantize(x, exp, man), cpdcomm.quantize(x, name(exp, man))):
            assert got.dtype == dtype
            assert torch.equal(torch.isnan(got), ~number)
            assert torch.equal(got[number].view(torch.int16), want[number].view(torch.int16))


@pytest.fixture
def flushing():
    """The caller's own FTZ and DAZ."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("fmt", ["e8m7", "e8m0", "e8m22", "e8m23", "e4m3", "e1m23"])
def test_a_caller_that_flushes_subnormals_changes_nothing(fmt, flushing):
    exp, man = ref.exp_man(fmt)
    rng = np.random.default_rng(11)
    x = floats(patterns.both_signs(rng.integers(0, 1 << 24, 4001)))
    want = ref.cast(x, exp, man)  # integers, so it does not notice
    same_bits(array(cpdcomm.quantize(tensor(x), fmt)), want)
    data = cpdcomm.encode(tensor(x), fmt)
    same_bytes(data, encoded(x, exp, man))
    same_bits(array(cpdcomm.decode(data, fmt, x.size)), want)


# --- errors ---------------------------------------------------------------------------------------

BY_NAME = {
    "quantize": lambda fmt: cpdcomm.quantize(torch.ones(8), fmt),
    "encode": lambda fmt: cpdcomm.encode(torch.ones(8), fmt),
    "decode": lambda fmt: cpdcomm.decode(torch.zeros(8, dtype=torch.uint8), fmt, 8),
}


@pytest.mark.parametrize("call", BY_NAME)
@pytest.mark.parametrize("fmt", ["float8", "e4", "m3", "e4m3fnx", "bf17", "e-1m3", "e4m3.0"])
def test_unknown_format(call, fmt):
    with pytest.raises(ValueError) as error:
        BY_NAME[call](fmt)
    message = str(error.value)
    assert fmt in message
    assert all(known in message for known in ("fp32", "bf16", "fp16"))


@pytest.mark.parametrize("call", BY_NAME)
@pytest.mark.parametrize("fmt", ["e0m3", "e9m3", "e4m24", "e99m99", ""])
def test_format_name_out_of_range(call, fmt):
    with pytest.raises(ValueError) as error:
        BY_NAME[call](fmt)
    assert fmt in str(error.value)


@pytest.mark.parametrize("exp_man", [(0, 3), (9, 3), (-1, 3), (4, -1), (4, 24), (300, 3), (4, 300)])
def test_exp_man_out_of_range(exp_man):
    with pytest.raises(ValueError):
        cpdcomm.float_quantize(torch.ones(4), *exp_man)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "dtype", [torch.int32, torch.int64, torch.uint8, torch.bool, torch.float64, torch.complex64]
)
def test_wrong_dtype(operation, dtype):
    with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
        OPERATIONS[operation](torch.ones(4).to(dtype))


@pytest.mark.parametrize("wrong", [None, [1.0], 1.0, np.ones(4, np.float32)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_not_a_tensor(operation, wrong):
    with pytest.raises(TypeError):
        OPERATIONS[operation](wrong)


@pytest.mark.parametrize(
    ("size", "fmt", "numel"),
    [
        (5, "e4m3", 6),  # too short
        (5, "e4m3", 4),  # too long
        (5, "e3m2", 7),  # 42 bits take 6 bytes
        (6, "e3m2", 6),  # 36 bits take 5
        (0, "e4m3", 1),
        (1, "e4m3", 0),
        (5, "e4m3", -1),
        (5, "e4m3", 1 << 62),  # its bits pass 2^64
    ],
)
def test_decode_of_a_wrong_size(size, fmt, numel):
    with pytest.raises(ValueError):
        cpdcomm.decode(torch.zeros(size, dtype=torch.uint8), fmt, numel)


def test_decode_accepts_what_ends_in_the_same_byte():
    data = cpdcomm.encode(torch.ones(8), "e2m0")  # 3 bits each
    assert data.numel() == 3
    assert cpdcomm.decode(data, "e2m0", 6).tolist() == [1.0] * 6


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.float32])
def test_decode_of_other_types(dtype):
    with pytest.raises(TypeError, match="uint8"):
        cpdcomm.decode(torch.zeros(4, dtype=dtype), "e4m3", 4)


def test_unknown_rounding():
    with pytest.raises(ValueError, match="up"):
        cpdcomm.quantize(torch.ones(4), "e4m3", rounding="up")
