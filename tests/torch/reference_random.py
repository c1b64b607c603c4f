"""The random words of stochastic rounding: numerics.md's counters and keys, in numpy."""

import numpy as np

# J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter, key):
    """Philox4x32-10: four words (uint64 arrays below 2^32) of four counter words and two key words.

    The counter's words may be arrays.
    """
    c0, c1, c2, c3 = (np.asarray(word, dtype=np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = (second >> _HALF) ^ c1 ^ np.uint64(k0), (first >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = second & _LOW, first & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(count, seed, step=0, *, phase=0, rank=0, tensor=0, first=0):
    """The words (int64) of the values `first` to `first + count - 1` of a tensor."""
    block, end = first // 4, -(-(first + count) // 4)
    index = np.arange(block, end, dtype=np.uint64)
    high = np.uint64(phase << 16) + (index >> _HALF)
    counter = index & _LOW, high, np.uint64(rank), np.uint64(tensor)
    drawn = np.stack(np.broadcast_arrays(*philox(counter, (seed, step))), axis=-1)
    return drawn.ravel()[first % 4 :][:count].astype(np.int64)
