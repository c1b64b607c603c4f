"""What casts and all-reduces must give, bit by bit: numerics.md written down in numpy.

Nothing here shares code with the library. Casts work on integers only; the sums are FP32 additions
of numpy, which round once. `exact_cast` says the same a second time with exact fractions, one value
at a time, to hold `cast` to account.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

ALIASES = {"fp32": (8, 23), "bf16": (8, 7), "fp16": (5, 10)}
CANONICAL_NAN = 0x7FC00000
FP32 = (8, 23)


# --- formats --------------------------------------------------------------------------------------


def exp_man(name):
    """(exp, man) of an alias or an `eXmY` name."""
    if name in ALIASES:
        return ALIASES[name]
    exp, man = (int(part) for part in name.removeprefix("e").split("m"))
    _check(exp, man)
    return exp, man


def code_bits(exp, man):
    """Width of a code: sign, exponent, mantissa."""
    return 1 + exp + man


def bias(exp):
    """Exponent bias."""
    return 2 ** (exp - 1) - 1


def emin(exp):
    """Exponent of the smallest normal value; the subnormals' quantum is 2^(emin - man)."""
    return 1 - bias(exp)


def emax(exp):
    """Exponent of the largest binade (of nothing for exp = 1, which has only subnormals)."""
    return 2**exp - 2 - bias(exp)


def _check(exp, man):
    if not (1 <= exp <= 8 and 0 <= man <= 23):
        raise ValueError(f"no such format: e{exp}m{man}")


def _nan_code(exp, man):
    """Positive, with the mantissa's top bit alone; with no mantissa this is Inf's code."""
    top = ((1 << exp) - 1) << man
    return top | (1 << (man - 1)) if man else top


# --- casts by integer arithmetic ------------------------------------------------------------------


def _bits(x):
    """FP32 bits as int64."""
    x = np.asarray(x)
    if x.dtype != np.float32:
        raise TypeError(f"float32 expected, got {x.dtype}")
    return x.view(np.uint32).astype(np.int64)


def _float32(bits):
    return np.asarray(bits).astype(np.uint32).view(np.float32)


def _bit_length(n):
    """Bit length of integers below 2^53, exactly."""
    return np.frexp(n.astype(np.float64))[1].astype(np.int64)


def split(x):
    """(negative, sig, e, special): |x| = sig * 2^e, 0 <= sig < 2^24, unless Inf or NaN."""
    bits = _bits(x)
    field, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    sig = np.where(field > 0, fraction | 0x800000, fraction)
    return bits >> 31, sig, np.maximum(field, 1) - 150, field == 0xFF


def round_units(sig, e, place, words=None):
    """sig * 2^e (0 <= sig < 2^24) in units of 2^place, rounded to an integer.

    To nearest-even, or stochastically with one 32-bit word each. More than 2^23 units are only
    promised to stay more than that, unless sig < 2^23.
    """
    # By 26 a 24-bit integer is below half a unit; by 63 nothing is left of its first 32 digits.
    drop = np.clip(place - e, -23, 26 if words is None else 63)
    down = np.maximum(drop, 0)
    kept = sig >> down
    rest = sig - (kept << down)
    if words is None:
        half = np.where(down > 0, np.int64(1) << np.maximum(down - 1, 0), 0)
        up = (down > 0) & ((rest > half) | ((rest == half) & (kept & 1 == 1)))
    else:
        digits = (rest << np.maximum(32 - down, 0)) >> np.maximum(down - 32, 0)
        up = digits + words >= 1 << 32
    return (kept << np.maximum(-drop, 0)) + up


def round_magnitude(sig, e, exp, man, words=None):
    """Code of sig * 2^e (0 <= sig < 2^24) without regard to the top: may pass Inf's code."""
    leading = e + _bit_length(sig) - 1
    quantum = emin(exp) - man
    place = np.maximum(leading - man, quantum)
    unit = round_units(sig, e, place, words)
    # A significand of 2^man or more is normal; its leading bit adds one to the exponent field, and
    # a carry into 2^(man + 1) adds another, with a zero mantissa: just as it should.
    return unit + np.where(sig == 0, 0, (place - quantum) << man)


def encode(x, exp, man, shift=0, saturate=False, words=None):
    """Codes (uint32) of x * 2^shift, rounded once: nearest-even, or stochastically by `words`."""
    _check(exp, man)
    bits = _bits(x)
    shift = np.asarray(shift, dtype=np.int64)
    if (exp, man) == FP32 and not shift.any():
        return np.broadcast_to(bits, np.broadcast_shapes(bits.shape, shift.shape)).astype(np.uint32)
    negative, sig, e, special = split(x)
    inf = ((1 << exp) - 1) << man
    code = round_magnitude(sig, e + shift, exp, man, words)
    code = np.where(code >= inf, inf - 1 if saturate else inf, code)
    code = np.where(special, inf, code) | (negative << (exp + man))
    code = np.where(np.isnan(x), _nan_code(exp, man), code)
    return code.astype(np.uint32)


def decode(codes, exp, man):
    """FP32 values of codes: always exact. Every NaN code gives the canonical NaN."""
    _check(exp, man)
    codes = np.asarray(codes).astype(np.int64)
    if (exp, man) == FP32:
        return _float32(codes)
    sign = codes >> (exp + man) & 1
    field = codes >> man & ((1 << exp) - 1)
    fraction = codes & ((1 << man) - 1)
    sig = np.where(field > 0, fraction | (1 << man), fraction)
    e = np.maximum(field, 1) - 1 + emin(exp) - man
    bits = round_magnitude(sig, e, *FP32)  # nothing to round: every value is an FP32 value
    top = field == (1 << exp) - 1
    bits = np.where(top, 0x7F800000, bits) | (sign << 31)
    return _float32(np.where(top & (fraction != 0), CANONICAL_NAN, bits))


def cast(x, exp, man, shift=0, saturate=False):
    """x * 2^shift rounded once to the format; `e8m23` without a shift copies the bits."""
    return decode(encode(x, exp, man, shift, saturate), exp, man)


def pack(codes, bits):
    """Little-endian bit string: code i in bits i*bits and up, least significant bit first."""
    codes = np.asarray(codes, dtype=np.uint32).reshape(-1, 1)
    string = codes >> np.arange(bits, dtype=np.uint32) & np.uint32(1)
    return np.packbits(string.astype(np.uint8).ravel(), bitorder="little")


def unpack(data, bits, numel):
    """The first `numel` codes of a bit string."""
    string = np.unpackbits(np.asarray(data, dtype=np.uint8), bitorder="little")
    string = string[: numel * bits].reshape(numel, bits).astype(np.uint32)
    return (string << np.arange(bits, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


# --- the same once more, exactly and slowly -------------------------------------------------------


def largest_finite(exp, man):
    """The largest finite value, a Fraction."""
    if exp == 1:
        return (2**man - 1) * Fraction(2) ** (emin(exp) - man)
    return (2 - Fraction(2) ** -man) * Fraction(2) ** emax(exp)


def exact_cast(x, exp, man, shift=0, saturate=False):
    """`cast` of one Python float that holds an FP32 value, with exact fractions."""
    _check(exp, man)
    if math.isnan(x):
        return math.nan if man else math.inf
    if math.isinf(x) or ((exp, man) == FP32 and shift == 0):
        return x
    exact = abs(Fraction(x)) * Fraction(2) ** shift
    if exact == 0:
        return x
    # The numerator's or the denominator's other factors are odd: the fraction is n / 2^k, reduced.
    binade = exact.numerator.bit_length() - exact.denominator.bit_length()
    unit = Fraction(2) ** (max(binade, emin(exp)) - man)
    rounded = round(exact / unit) * unit  # Python rounds a Fraction half to even
    if rounded > largest_finite(exp, man):
        rounded = largest_finite(exp, man) if saturate else math.inf
    return math.copysign(float(rounded), x)


# --- all-reduce -----------------------------------------------------------------------------------


def aps_exponent(parts, world):
    """ceil(log2(max|g| * world)), exactly; None for a zero tensor, 'nan' for a non-finite one."""
    largest = 0  # FP32 magnitudes are ordered as their bits are
    for part in parts:
        largest = max(largest, int((_bits(part) & 0x7FFFFFFF).max(initial=0)))
    if largest >= 0x7F800000:
        return "nan"
    if largest == 0:
        return None
    field, fraction = divmod(largest, 1 << 23)
    sig = fraction + (1 << 23 if field else 0)
    return (sig * world - 1).bit_length() + max(field, 1) - 150


@dataclass(frozen=True)
class _Wire:
    """The casts of one tensor."""

    exp: int
    man: int
    shift: int
    saturate: bool

    def part(self, g):
        """decode(encode(g)): how a part enters."""
        return cast(g, self.exp, self.man, self.shift, self.saturate)

    def scaled(self, g):
        """g * 2^shift in FP32: how the own part enters in `wide` by hops."""
        return cast(g, *FP32, self.shift, self.saturate)

    def q(self, value):
        """Q: a partial sum, scaled already, rounded to the format."""
        return cast(value, self.exp, self.man, 0, self.saturate)


def _fold_wide(parts):
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


def _fold_rounded(parts, q):
    res = np.zeros_like(parts[0])
    for part in parts:
        res = q(res + part)
    return res


def _fold_kahan(parts, q):
    """CPD's loop over plain parts; gives the pair."""
    res, c = np.zeros_like(parts[0]), np.zeros_like(parts[0])
    for part in parts:
        y = q(part - c)
        t = q(res + y)
        c = q(q(t - res) - y)
        res = t
    return res, c


def join_pairs(a, b, q):
    """Two compensated partial sums (s, c) as one."""
    y = q(b[0] - q(a[1] + b[1]))
    t = q(a[0] + y)
    return t, q(q(t - a[0]) - y)


def _fold_pairs(pairs, q):
    total = (np.zeros_like(pairs[0][0]), np.zeros_like(pairs[0][0]))
    for pair in pairs:
        total = join_pairs(total, pair, q)
    return total


def _reduce_wide(ranks, wire):
    """All ranks' parts at the owner, each of them cast, its own too."""
    entering = [
        wire.part(nodes[0])
        if len(nodes) == 1
        else wire.q(_fold_wide([wire.part(g) for g in nodes]))
        for nodes in ranks
    ]
    return wire.q(_fold_wide(entering))


def _reduce_wide_by_hops(ranks, wire):
    """The own part enters in FP32; what travels, and the result, is cast."""
    own = [
        wire.scaled(nodes[0]) if len(nodes) == 1 else _fold_wide([wire.part(g) for g in nodes])
        for nodes in ranks
    ]
    total = np.zeros_like(own[0]) + own[0]
    for part in own[1:]:
        total = wire.q(total) + part
    return wire.q(total)


def _reduce_rounded(ranks, wire):
    sums = []
    for nodes in ranks:
        parts = [wire.part(g) for g in nodes]
        sums.append(parts[0] if len(parts) == 1 else _fold_rounded(parts, wire.q))
    return _fold_rounded(sums, wire.q)


def _reduce_kahan(ranks, wire):
    pairs = []
    for nodes in ranks:
        parts = [wire.part(g) for g in nodes]
        lone = (parts[0], np.zeros_like(parts[0]))
        pairs.append(lone if len(parts) == 1 else _fold_kahan(parts, wire.q))
    return _fold_pairs(pairs, wire.q)[0]


# In the order of the ranks (`direct`) or of the hops (`ring`): only `wide` knows the difference.
_REDUCE = {
    ("direct", "wide"): _reduce_wide,
    ("direct", "rounded"): _reduce_rounded,
    ("direct", "kahan"): _reduce_kahan,
    ("ring", "wide"): _reduce_wide_by_hops,
    ("ring", "rounded"): _reduce_rounded,
    ("ring", "kahan"): _reduce_kahan,
}


def _chunks(algorithm, world, numel, cuts):
    """(slice, order of the ranks) of every chunk."""
    if algorithm == "direct":
        return [(slice(0, numel), list(range(world)))]
    if cuts is None or len(cuts) != world + 1 or cuts[0] != 0 or cuts[-1] != numel:
        raise ValueError(f"ring needs {world + 1} cuts from 0 to {numel}, got {cuts}")
    hops = [[(c + i) % world for i in range(world)] for c in range(world)]
    return [(slice(cuts[c], cuts[c + 1]), hops[c]) for c in range(world)]


def _canonical(x):
    return _float32(np.where(np.isnan(x), CANONICAL_NAN, _bits(x)))


def all_reduce(
    parts,
    exp,
    man,
    *,
    accumulate="wide",
    algorithm="direct",
    aps=False,
    op="sum",
    saturate=False,
    cuts=None,
    exponent=None,
):
    """The result (FP32) on every rank of parts[rank][node], 1-D arrays of one tensor.

    `exponent`: the one of APS, if it is not that of these parts (`delayed` scaling).
    """
    everything = [g for nodes in parts for g in nodes]
    world, shape = len(everything), everything[0].shape
    shift = 0
    if aps and (exp, man) != FP32:
        own = aps_exponent(everything, world)
        if own is None:
            return np.zeros(shape, np.float32)
        if own == "nan":
            return _canonical(np.full(shape, np.nan, np.float32))
        exponent = own if exponent is None else exponent
        shift, saturate = emax(exp) - exponent, True
    wire = _Wire(exp, man, shift, saturate)
    reduce = _REDUCE[algorithm, accumulate]
    result = np.empty(shape, np.float32)
    with np.errstate(all="ignore"):  # Inf and NaN are data here
        for piece, order in _chunks(algorithm, len(parts), result.size, cuts):
            result[piece] = reduce([[g[piece] for g in parts[r]] for r in order], wire)
        result = cast(result, *FP32, -shift)
        if op == "avg":
            result = result / np.float32(world)
    return _canonical(result)
