"""What drcut/CPD computes, from its formulas, with this project's cast.

CPD gathers the ranks' FP32 gradients on every rank, and there adds them one after the other,
rounding as it goes. Its cast has defects that are none of its formulas'; `reference.cast` stands
for it. Like `reference`, nothing here shares code with the library.
"""

import numpy as np
import reference as ref


def _one_by_one(parts, cast):
    total = np.zeros_like(parts[0])
    for part in parts:
        total = cast(total + part)
    return total


def _kahan(parts, cast):
    total, c = np.zeros_like(parts[0]), np.zeros_like(parts[0])
    for part in parts:
        y = cast(part - c)
        t = cast(total + y)
        c = cast(cast(t - total) - y)
        total = t
    return total


def _exponent(part, ranks):
    """What a rank says to the others under APS. FP64 makes the product and the logarithm exact."""
    return np.ceil(np.log2(np.abs(part.astype(np.float64) * ranks).max()))


def total(parts, exp, man, aps=False, kahan=False):
    """The sum of `parts`, one FP32 array of a parameter's gradient for each rank.

    With `aps` a sum whose rounding errors carry it past the top is Inf here, as in CPD; the library
    saturates. Zero gradients on all ranks have no answer here: CPD's is NaN.
    """

    def cast(x):
        return ref.cast(x, exp, man)

    add = _kahan if kahan else _one_by_one
    with np.errstate(all="ignore"):  # Inf and NaN are data here
        if not aps:
            return add(parts, cast)
        shift = ref.bias(exp) - int(max(_exponent(part, len(parts)) for part in parts))
        scaled = [cast(np.ldexp(part, shift)) for part in parts]
        return np.ldexp(add(scaled, cast), -shift)
