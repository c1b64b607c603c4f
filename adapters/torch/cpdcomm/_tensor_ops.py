"""Casts of tensors to low-precision formats and their packed bytes."""

from __future__ import annotations

from torch import Tensor

from . import _C
from .errors import InvalidArgumentError, UnsupportedError


def float_quantize(x: Tensor, exp: int, man: int, saturate: bool = False) -> Tensor:
    """Rounds ``x`` to a float of ``exp`` exponent and ``man`` mantissa bits, nearest-even.

    CPD's function of that name, without its defects: the input is untouched, subnormals survive,
    and what exceeds the largest value is Inf.

    Args:
        x: float32, bfloat16 or float16, any shape, on the CPU. Half types are rounded from their
            FP32 value, and the result once more to their own type.
        exp: 1 to 8.
        man: 0 to 23; ``(8, 23)`` copies bit for bit.
        saturate: a finite overflow gives the largest finite value instead of Inf.

    Returns:
        A new tensor of the same shape and dtype.

    Raises:
        ValueError: a width is out of range, or ``x`` is not a dense CPU tensor.
        TypeError: another dtype.
    """
    return _C.float_quantize(x, exp, man, saturate)


def quantize(
    x: Tensor,
    format: str,
    rounding: str = "nearest_even",
    seed: int | None = None,
    saturate: bool = False,
) -> Tensor:
    """``decode(encode(x, format))`` in x's shape and dtype, without the packing.

    Args:
        x: float32, bfloat16 or float16, any shape, on the CPU.
        format: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"eXmY"``.
        rounding: ``"nearest_even"``. ``"stochastic"`` is not offered yet.
        seed: for stochastic rounding only.
        saturate: a finite overflow gives the largest finite value instead of Inf.

    Raises:
        ValueError: an unknown format or rounding, named with what is allowed.
        TypeError: another dtype.
        NotImplementedError: stochastic rounding.
    """
    if rounding == "stochastic":
        raise UnsupportedError("rounding 'stochastic' is not offered yet; 'nearest_even' is")
    if rounding != "nearest_even":
        raise InvalidArgumentError(
            f"unknown rounding '{rounding}': known are nearest_even, stochastic"
        )
    if seed is not None:
        raise InvalidArgumentError(f"seed {seed} is for rounding 'stochastic' only")
    return _C.quantize(x, format, saturate)


def encode(x: Tensor, format: str, saturate: bool = False) -> Tensor:
    """The packed bytes of ``x``: a little-endian bit string, value i in bits i*b to (i+1)*b-1.

    Returns:
        A one-dimensional uint8 tensor of ``ceil(x.numel() * bits / 8)`` bytes.

    Raises:
        ValueError: an unknown format.
        TypeError: ``x`` is not float32, bfloat16 or float16.
    """
    return _C.encode(x, format, saturate)


def decode(data: Tensor, format: str, numel: int) -> Tensor:
    """The inverse of :func:`encode`.

    Args:
        data: uint8, exactly the bytes that ``numel`` values take.

    Returns:
        A one-dimensional float32 tensor of ``numel`` values.

    Raises:
        ValueError: an unknown format, or another number of bytes.
        TypeError: ``data`` is not uint8.
    """
    return _C.decode(data, format, numel)
