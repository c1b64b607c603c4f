"""Inputs that make a wrong cast visible: boundaries of a format, all of FP32's corners, noise."""

import numpy as np
import reference as ref

SIGN = np.uint32(0x80000000)
NAN_BITS = [0x7FC00000, 0x7F800001, 0x7FA00000, 0x7FBFFFFF, 0x7FC12345, 0x7FFFFFFF]
DENSE_CODES = 512  # formats with at most this many magnitudes are covered in full


def floats(bits):
    """FP32 values with these bits (a view, so NaN payloads survive)."""
    return np.ascontiguousarray(bits, dtype=np.uint32).view(np.float32)


def bits_of(x):
    """The bits of an FP32 array."""
    return np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)


def both_signs(bits):
    """The patterns and their mirror images."""
    bits = np.asarray(bits, dtype=np.uint32) & ~SIGN
    return np.concatenate([bits, bits | SIGN])


def magnitude_codes(exp, man, rng):
    """Codes of finite magnitudes: all of a small format; edges, binades and a sample of others."""
    top = ((1 << exp) - 1) << man
    if top <= DENSE_CODES:
        return np.arange(top, dtype=np.uint32)
    binades = np.arange(1, (1 << exp) - 1, dtype=np.int64) << man
    edges = np.concatenate([np.arange(8), top - 1 - np.arange(8), (1 << man) + np.arange(-8, 8)])
    sample = rng.integers(0, top, DENSE_CODES)
    codes = np.concatenate([edges, binades - 1, binades, binades + 1, sample])
    return np.unique(codes[(codes >= 0) & (codes < top)]).astype(np.uint32)


def boundaries(exp, man, rng):
    """Magnitudes (FP64, exact): values of the format, and the midpoints to their upper neighbours.

    The upper neighbour of the largest value is the one it would have with one more binade, so the
    overflow boundary is among the midpoints, and so is half the smallest value.
    """
    codes = magnitude_codes(exp, man, rng)
    value = ref.decode(codes, exp, man).astype(np.float64)
    field = np.maximum(codes.astype(np.int64) >> man, 1)
    step = np.ldexp(1.0, (field - 1 + ref.emin(exp) - man).astype(np.int32))
    return np.concatenate([value, value + step / 2, value[-1:] + step[-1:]])


def neighbourhood(magnitudes):
    """FP32 patterns at, just below and just above the given FP64 magnitudes (both signs)."""
    with np.errstate(over="ignore", under="ignore"):
        bits = bits_of(magnitudes.astype(np.float32)).astype(np.int64)
    near = np.concatenate([bits - 1, bits, bits + 1])
    return both_signs(near[(near >= 0) & (near < 0x7F800000)])


def all_exponents(rng):
    """Every FP32 exponent field with extreme, middle and random mantissas (NaN field included)."""
    field = np.arange(256, dtype=np.int64) << 23
    mantissas = np.array([0, 1, 0x400000, 0x7FFFFF, *rng.integers(0, 1 << 23, 2)])
    return both_signs((field[:, None] | mantissas).ravel())


def specials():
    """Zeros, infinities, NaNs of several payloads, the edges of the FP32 subnormals."""
    edges = [0, 1, 2, 3, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFE, 0x7FFFFF, 0x800000, 0x800001]
    return both_signs([*edges, 0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, *NAN_BITS])


def in_range_noise(exp, man, count, rng):
    """Random mantissas with exponents from below half the smallest value to above the largest."""
    low, high = ref.emin(exp) - man - 3, ref.emax(exp) + 3
    exponent = rng.integers(low, high + 1, count)
    magnitude = np.ldexp(1 + rng.random(count), exponent)
    with np.errstate(over="ignore", under="ignore"):
        bits = bits_of(magnitude.astype(np.float32))
    return bits ^ (rng.integers(0, 2, count).astype(np.uint32) << np.uint32(31))


def probe(exp, man, seed=0):
    """A few thousand FP32 inputs for one format, in random order (every SIMD lane sees all)."""
    rng = np.random.default_rng([seed, exp, man])
    pieces = [
        specials(),
        all_exponents(rng),
        neighbourhood(boundaries(exp, man, rng)),
        both_signs(rng.integers(1, 1 << 23, 100)),  # FP32 subnormals
        in_range_noise(exp, man, 500, rng),
        rng.integers(0, 1 << 32, 500, dtype=np.uint32),
    ]
    return floats(rng.permutation(np.concatenate(pieces)))


def same_bits(got, want, what="values"):
    """Assert equality of bits and show the first values that differ."""
    got, want = bits_of(got), bits_of(want)
    assert got.shape == want.shape
    wrong = np.flatnonzero(got.ravel() != want.ravel())
    first = [f"[{i}] {got.ravel()[i]:08x} != {want.ravel()[i]:08x}" for i in wrong[:8]]
    assert not wrong.size, f"{what}: {wrong.size} of {got.size} differ: {', '.join(first)}"
