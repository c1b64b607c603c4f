"""The formats beyond `eXmY`, bit by bit: numerics.md written down in numpy.

Like `reference`, it shares no code with the library and rounds integers only. A format is a `Spec`,
read from its name by `parse`; `encode`, `decode` and `quantize` take names. Block formats are cast
on an index map, the block of every value (see `reference_geometry`); on the wire blocks are flat.
"""

import re
from dataclasses import dataclass

import numpy as np
import reference as ref

FN = {"e4m3fn": (4, 3), "e3m2fn": (3, 2), "e2m3fn": (2, 3), "e2m1fn": (2, 1)}
# The elements; integers have no exponent bits.
MX = {
    "mxfp8e4m3": "e4m3fn",
    "mxfp8e5m2": "e5m2",
    "mxfp6e3m2": "e3m2fn",
    "mxfp6e2m3": "e2m3fn",
    "mxfp4": "e2m1fn",
    "mxint8": "int",
}
MX_BLOCK = 32
MX_EMAX = {"e4m3fn": 8, "e5m2": 15, "e3m2fn": 4, "e2m3fn": 2, "e2m1fn": 2, "int": 0}
DEFAULT_BLOCK = {"bfp": 64, "int": 512, "sign": 512}
NAN = np.uint32(ref.CANONICAL_NAN).view(np.float32)
LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True)
class Spec:
    """A format: `element` names a float or its elements, `bits` is the width of a code."""

    kind: str
    bits: int
    block: int = 0
    element: str = ""

    @property
    def most(self):
        """The largest integer."""
        return 2 ** (self.bits - 1) - 1


def parse(name):
    """The Spec of a name."""
    if name in FN:
        return Spec("fn", 1 + sum(FN[name]), element=name)
    if name in MX:
        element = MX[name]
        bits = 8 if element == "int" else 1 + sum(_element(element))
        return Spec("mx", bits, MX_BLOCK, element)
    found = re.fullmatch(r"(bfp|int|sign)(\d*)(?::(\d+))?", name)
    if found:
        kind, bits, block = found.groups()
        return Spec(kind, int(bits or 1), int(block or DEFAULT_BLOCK[kind]))
    return Spec("float", ref.code_bits(*ref.exp_man(name)), element=name)


# --- elements: floats in which every value is rounded by itself -----------------------------------


def _element(element):
    return FN[element] if element in FN else ref.exp_man(element)


def _largest_code(element):
    """Of a finite magnitude."""
    exp, man = _element(element)
    if element not in FN:
        return (((1 << exp) - 1) << man) - 1
    return 0x7E if element == "e4m3fn" else (1 << (exp + man)) - 1


def _saturated(x, element, shift, words):
    """Codes of x * 2^shift, saturating; `shift` may be one per value."""
    exp, man = _element(element)
    negative, sig, e, special = ref.split(x)
    code = ref.round_magnitude(sig, e + shift, exp, man, words)
    code = np.minimum(np.where(special, _largest_code(element), code), _largest_code(element))
    return code | negative << (exp + man)


def _encode_fn(x, element, words):
    code = _saturated(x, element, 0, words)
    if element == "e4m3fn":
        code = np.where(np.isfinite(x), code, 0x7F)
    return code


def _decode_element(codes, element):
    """FP32 values of float codes."""
    exp, man = _element(element)
    if element not in FN:
        return ref.decode(codes, exp, man)
    # No binade is special, so the format's values are those of one with one exponent bit more,
    # moved by the difference of the biases.
    codes = np.asarray(codes, dtype=np.int64)
    magnitude = codes & ((1 << (exp + man)) - 1)
    value = ref.decode(magnitude, exp + 1, man).astype(np.float64)
    value = np.ldexp(value, ref.bias(exp + 1) - ref.bias(exp)).astype(np.float32)
    value = np.where(codes >> (exp + man) & 1, -value, value).astype(np.float32)
    return np.where(magnitude == 0x7F, NAN, value) if element == "e4m3fn" else value


# --- blocks: scales -------------------------------------------------------------------------------


def flat_index(numel, block):
    """The block of each value where `block` consecutive ones share a scale."""
    return np.arange(numel) // block


def _largest_bits(x, index, blocks):
    """FP32 bits of the largest magnitude of each block; Inf and NaN are above all."""
    largest = np.zeros(blocks, dtype=np.int64)
    np.maximum.at(largest, index, x.view(np.uint32).astype(np.int64) & 0x7FFFFFFF)
    return largest


def _mx_scale(largest, element):
    """E8M0 codes."""
    # Of subnormals the field is 0, not the logarithm; but both are clamped.
    exponent = (largest >> 23) - 127 - MX_EMAX[element]
    scale = np.clip(exponent, -127, 127) + 127
    return np.where(largest >= 0x7F800000, 0xFF, np.where(largest == 0, 0, scale))


def _int_scale(largest, most):
    with np.errstate(all="ignore"):
        scale = largest.astype(np.uint32).view(np.float32) / np.float32(most)
    return np.where(largest >= 0x7F800000, NAN, scale).astype(np.float32)


def _mean_magnitude(x, index, blocks):
    """FP32 means, summed in FP64 over 16 lanes."""
    order = np.argsort(index, kind="stable")
    count = np.bincount(index, minlength=blocks)
    position = np.empty(x.size, dtype=np.int64)
    position[order] = np.arange(x.size) - (np.cumsum(count) - count)[index[order]]
    with np.errstate(invalid="ignore"):
        magnitude = np.abs(x.astype(np.float64))
    lanes = np.bincount(index * 16 + position % 16, magnitude, blocks * 16).reshape(blocks, 16)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    mean = (lanes[:, 0] / count).astype(np.float32)
    return np.where(np.isfinite(mean), mean, NAN).astype(np.float32)


def stored_scales(x, spec, index, blocks):
    """What the wire holds for each block: exponent bytes, or FP32 values."""
    if spec.kind == "sign":
        return _mean_magnitude(x, index, blocks)
    largest = _largest_bits(x, index, blocks)
    if spec.kind == "bfp":
        return largest >> 23
    if spec.kind == "mx":
        return _mx_scale(largest, spec.element)
    return _int_scale(largest, spec.most)


def scale_exponents(stored, spec):
    """log2 of what a code is multiplied by, of stored exponent bytes; of NaN blocks anything."""
    if spec.kind == "bfp":
        return stored - 126 - (spec.bits - 1)
    return stored - 127 - (6 if spec.element == "int" else 0)


# --- blocks: codes --------------------------------------------------------------------------------


def _signed(negative, magnitude):
    return np.where(negative, -magnitude, magnitude)


def _integers(x, exponent, most, words):
    """x / 2^exponent rounded and clamped."""
    negative, sig, e, _ = ref.split(x)
    return _signed(negative, np.minimum(ref.round_units(sig, e, exponent, words), most))


def _linear_integers(x, scale, most, words):
    """x / scale, in FP32, rounded and clamped."""
    with np.errstate(all="ignore"):
        quotient = np.where(scale > 0, x / scale, np.float32(0)).astype(np.float32)
    quotient = np.clip(quotient, np.float32(-(2.0**25)), np.float32(2.0**25))
    return _integers(quotient, 0, most, words)


def _block_codes(x, spec, scale, nan, words):
    """Signed integers, codes of elements or sign bits, given the scale of every value.

    All 0 in a block that is NaN.
    """
    x = np.where(nan, np.float32(0), x)
    if spec.kind == "sign":
        return x.view(np.uint32).astype(np.int64) >> 31
    if spec.kind == "int":
        return _linear_integers(x, scale, spec.most, words)
    if spec.element in ("", "int"):
        return _integers(x, scale, spec.most, words)
    return _saturated(x, spec.element, -scale, words)


def _block_values(codes, spec, scale, nan):
    """FP32 values of the codes; `scale` is an exponent for bfp and mx, else FP32."""
    with np.errstate(all="ignore"):
        if spec.kind == "sign":
            value = np.where(codes == 1, -scale, scale)
        elif spec.kind == "int":
            value = codes * scale.astype(np.float64)
            value = np.clip(value, -LARGEST.astype(np.float64), LARGEST)
        elif spec.element in ("", "int"):
            value = np.ldexp(codes.astype(np.float64), scale)
        else:
            value = np.ldexp(_decode_element(codes, spec.element).astype(np.float64), scale)
        value = value.astype(np.float32)
    return np.where(nan | np.isnan(value), NAN, value).astype(np.float32)


def _nan_blocks(stored, spec):
    return stored == 0xFF if spec.kind in ("bfp", "mx") else np.isnan(stored)


def _multipliers(stored, spec):
    """Of stored scales: exponents for bfp and mx, FP32 else."""
    return scale_exponents(stored, spec) if spec.kind in ("bfp", "mx") else stored


# --- whole tensors --------------------------------------------------------------------------------


def codes_of(x, name, saturate=False, words=None):
    """Codes (uint32) and stored scales (None for floats) of a flat tensor."""
    spec = parse(name)
    if spec.kind == "float":
        return ref.encode(x, *ref.exp_man(name), saturate=saturate, words=words), None
    if spec.kind == "fn":
        return _encode_fn(x, name, words).astype(np.uint32), None
    index = flat_index(x.size, spec.block)
    stored = stored_scales(x, spec, index, -(-x.size // spec.block))
    nan = _nan_blocks(stored, spec)
    codes = _block_codes(x, spec, _multipliers(stored, spec)[index], nan[index], words)
    return (codes & ((1 << spec.bits) - 1)).astype(np.uint32), stored


def encode(x, name, saturate=False, words=None):
    """The bytes of a flat tensor: packed codes, then scales."""
    spec = parse(name)
    codes, stored = codes_of(x, name, saturate, words)
    data = ref.pack(codes, spec.bits)
    if stored is None:
        return data
    scales = stored.astype(np.uint8 if spec.kind in ("bfp", "mx") else "<f4")
    return np.concatenate([data, scales.view(np.uint8)])


def decode(data, name, numel):
    """FP32 values of bytes."""
    spec = parse(name)
    data = np.asarray(data, dtype=np.uint8)
    size = -(-numel * spec.bits // 8)
    codes = ref.unpack(data[:size], spec.bits, numel).astype(np.int64)
    if spec.kind in ("float", "fn"):
        return _decode_element(codes, spec.element)
    stored = data[size:].astype(np.int64)
    if spec.kind in ("int", "sign"):
        stored = data[size:].copy().view("<f4").astype(np.float32)
    if spec.kind in ("bfp", "int") or spec.element == "int":
        codes = codes - (codes >> (spec.bits - 1) << spec.bits)  # two's complement
    index = flat_index(numel, spec.block)
    nan = _nan_blocks(stored, spec)
    return _block_values(codes, spec, _multipliers(stored, spec)[index], nan[index])


def quantize(x, name, saturate=False, words=None, index=None, scale=None):
    """Values rounded to a format, in the shape of `x`.

    Block formats: `index` has the block of every value (x's shape), without it blocks are flat;
    `scale` are the numbers that codes are multiplied by, one for all or one per block.
    """
    flat = np.ascontiguousarray(x).ravel()
    spec = parse(name)
    if index is None and scale is None:
        data = encode(flat, name, saturate, words)
        return decode(data, name, flat.size).reshape(x.shape)
    index = flat_index(flat.size, spec.block) if index is None else index.ravel()
    blocks = int(index.max(initial=-1)) + 1
    if scale is None:
        stored = stored_scales(flat, spec, index, blocks)
        scale, nan = _multipliers(stored, spec), _nan_blocks(stored, spec)
    else:
        scale = np.broadcast_to(np.asarray(scale, dtype=np.float32), (blocks,))
        nan = _largest_bits(flat, index, blocks) >= 0x7F800000
        if spec.kind in ("bfp", "mx"):  # powers of two, here as exponents
            scale = np.frexp(scale)[1].astype(np.int64) - 1 - (6 if spec.element == "int" else 0)
    codes = _block_codes(flat, spec, scale[index], nan[index], words)
    return _block_values(codes, spec, scale[index], nan[index]).reshape(x.shape)
