"""Arguments of the tensor functions, as the operators take them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._geometry import Geometry
from .errors import InvalidArgumentError

_SEEDS = 1 << 32


def check_tensor(x: Tensor, function: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{function} takes a tensor, not {type(x).__name__}")


def check_format(format: str) -> None:
    if not isinstance(format, str):
        raise TypeError(f"a format is a str such as 'e4m3', not {type(format).__name__}")


def seed_of(rounding: str, seed: int | None) -> Tensor | None:
    """The seed of stochastic rounding as the operators take it; None for nearest-even."""
    if rounding == "nearest_even":
        if seed is not None:
            raise InvalidArgumentError(f"seed {seed} is for rounding 'stochastic' only")
        return None
    if rounding != "stochastic":
        raise InvalidArgumentError(
            f"unknown rounding '{rounding}': known are nearest_even, stochastic"
        )
    if seed is None:
        return torch.randint(_SEEDS, (), device="cpu")
    check_seed(seed)
    return torch.tensor(seed, dtype=torch.int64, device="cpu")


def check_seed(seed: int) -> None:
    if not isinstance(seed, int):
        raise TypeError(f"seed is an int, not {type(seed).__name__}")
    if not 0 <= seed < _SEEDS:
        raise InvalidArgumentError(f"seed is {seed}: 0 <= seed < 2**32")


def geometry_of(geometry: Geometry | None) -> tuple[str | None, tuple[int, ...]]:
    """Its kind and numbers; no kind means the format's own blocks."""
    if geometry is None:
        return None, ()
    if not isinstance(geometry, Geometry):
        raise TypeError(f"geometry is a cpdcomm.Geometry, not {type(geometry).__name__}")
    return geometry.kind, geometry.numbers


def scale_of(scale: float | Tensor | None) -> Tensor | None:
    if scale is None or isinstance(scale, Tensor):
        return scale
    # Narrowed to float32 where no flush-to-zero mode of the caller's reaches it.
    return torch.tensor(float(scale), dtype=torch.float64, device="cpu")


def exponent_of(name: str, factor: float) -> int:
    """log2 of a factor that must be a power of two.

    Raises:
        ValueError: it is not, or is out of range.
        TypeError: it is no number.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise TypeError(f"{name} is {factor!r}, a {type(factor).__name__}; a number is taken")
    mantissa, exponent = math.frexp(factor)
    if mantissa != 0.5 or not -126 <= exponent - 1 <= 126:
        raise InvalidArgumentError(
            f"{name} is {factor}; a power of two from 2**-126 to 2**126 is allowed"
        )
    return exponent - 1
