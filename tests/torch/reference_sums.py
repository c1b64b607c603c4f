"""Integer sums, error feedback and delayed exponents, bit by bit: numerics.md in numpy.

`parts` are flat FP32 arrays, one per rank. Like `reference`, it shares no code with the library.
"""

import numpy as np
import reference as ref
import reference_formats as formats


def _shared(parts, spec):
    """Per value the multiplier on which all ranks agree, and whether its block is NaN."""
    index = formats.flat_index(parts[0].size, spec.block)
    blocks = -(-parts[0].size // spec.block)
    largest = np.max([formats._largest_bits(x, index, blocks) for x in parts], axis=0)
    stored = largest >> 23 if spec.kind == "bfp" else formats._int_scale(largest, spec.most)
    multipliers = formats._multipliers(stored, spec)
    return multipliers[index], formats._nan_blocks(stored, spec)[index]


def exact(parts, name, result="full", op="sum"):
    """`exact`: integers on shared scales; the FP32 result on every rank, and every rank's cast."""
    spec = formats.parse(name)
    scale, nan = _shared(parts, spec)
    codes = [formats._block_codes(x, spec, scale, nan, None) for x in parts]
    total = np.sum(codes, axis=0)
    if result == "wire":
        unit = 2 ** (len(parts) - 1).bit_length()
        total = np.rint(total / unit).astype(np.int64) * unit
    value = formats._block_values(total, spec, scale, nan)
    if op == "avg":
        value = value / np.float32(len(parts))
    casts = [formats._block_values(c, spec, scale, nan) for c in codes]
    return np.where(nan, formats.NAN, value).astype(np.float32), casts


def majority(parts):
    """The sign that most parts have, 0 for a tie."""
    if not all(np.isfinite(x).all() for x in parts):
        return np.full(parts[0].size, formats.NAN)
    return np.sign(sum(1 - 2 * np.signbit(x).astype(np.int64) for x in parts)).astype(np.float32)


def is_finite(parts):
    """Whether all values of all ranks are."""
    return all(np.isfinite(x).all() for x in parts)


def casts(parts, name):
    """decode(encode(part)) of every rank, with the exponent that APS gives floats."""
    if formats.parse(name).kind != "float":
        return [formats.quantize(x, name) for x in parts]
    exp, man = ref.exp_man(name)
    exponent = ref.aps_exponent(parts, len(parts))
    shift = 0 if exponent is None else ref.emax(exp) - exponent
    return [ref.cast(ref.cast(x, exp, man, shift, True), *ref.FP32, -shift) for x in parts]


def direct(parts, name, accumulate="wide"):
    """The sum under `direct`."""
    if formats.parse(name).kind == "float":
        exp, man = ref.exp_man(name)
        return ref.all_reduce([[x] for x in parts], exp, man, accumulate=accumulate, aps=True)
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + formats.quantize(part, name)
    return formats.quantize(total, name)
