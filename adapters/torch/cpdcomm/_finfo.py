"""What a format can represent."""

from __future__ import annotations

from dataclasses import dataclass

from . import _C


@dataclass(frozen=True)
class FormatInfo:
    """Limits of a format; of one with blocks in units of the block's scale.

    The unit is for ``bfp`` the power of two above the largest value, for mx and ``int`` what is
    stored, for ``sign`` the mean magnitude.

    Attributes:
        name: the shortest name of the format.
        bits: of one value, scales aside.
        bits_with_scales: of one value and its share of the scale.
        largest: the largest finite value.
        smallest: the smallest positive value.
        smallest_normal: the smallest positive value with all its mantissa bits.
        epsilon: the distance from 1 to the next value; of integers their step; of ``sign`` 0.
    """

    name: str
    bits: int
    bits_with_scales: float
    largest: float
    smallest: float
    smallest_normal: float
    epsilon: float


def finfo(format: str) -> FormatInfo:
    """What ``format`` can represent, as ``torch.finfo`` says it of a dtype.

    ``e4m3`` is the IEEE-like format with Inf, whose largest value is 240. It is not the ``e4m3fn``
    of today's accelerators, torch's ``float8_e4m3fn``, whose largest value is 448.

    Raises:
        ValueError: an unknown format.
    """
    about = _C.info(format)
    return FormatInfo(
        name=_C.canonical(format),
        bits=about.bits,
        bits_with_scales=about.bits_with_scales,
        largest=about.largest,
        smallest=about.smallest,
        smallest_normal=about.smallest_normal,
        epsilon=about.epsilon,
    )
