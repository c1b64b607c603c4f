"""Casts of tensors to low-precision formats and their packed bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _arguments, _operators
from ._geometry import Geometry


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
    _arguments.check_tensor(x, "float_quantize")
    return _operators.float_quantize(x, exp, man, saturate)


def quantize(
    x: Tensor,
    format: str,
    rounding: str = "nearest_even",
    seed: int | None = None,
    saturate: bool = False,
    *,
    geometry: Geometry | None = None,
    scale: float | Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``decode(encode(x, format))`` in x's shape and dtype, without the packing.

    Has no derivative: the result requires no gradient (:func:`fake_quantize` passes it on).

    Args:
        x: float32, bfloat16 or float16, any shape, on the CPU. Half types are rounded from their
            FP32 value, and the result once more to their own type; with a geometry or a scale
            through a float32 copy of the tensor.
        format: a name such as ``"e4m3"``, ``"bfp8"``, ``"mxfp4"``, ``"int8:64"``, ``"sign"``. Note
            that ``e4m3`` (largest value 240) is not the ``e4m3fn`` (448) of accelerators.
        rounding: ``"nearest_even"`` or ``"stochastic"``.
        seed: of stochastic rounding, 0 <= seed < 2**32; the same seed and shape draw the same
            random words, on any number of threads. None draws one from torch's default CPU
            generator, which ``torch.manual_seed`` sets.
        saturate: a finite overflow gives the largest finite value instead of Inf.
        geometry: which values share a scale, for the formats with blocks; None: the format's own
            blocks, as on the wire.
        scale: what the integers (mx: the elements, ``sign``: +-1) are multiplied by, instead of
            what each block's values give: one float32 value, or one per block in block order
            (:func:`block_scales`). Positive; for ``bfp`` and mx a power of two. Scales that change
            from call to call are best tensors: ``torch.compile`` makes a float a constant.
        out: where to write the result, of x's shape and dtype; it may be ``x``.

    Returns:
        ``out``, or a new contiguous tensor. A block with an Inf or NaN is NaN.

    Raises:
        ValueError: an unknown format or rounding, a seed, geometry, scale or ``out`` that is not
            allowed, each named with what is; ``x`` is not a dense CPU tensor.
        TypeError: another dtype.
        RuntimeError: ``out`` requires a gradient.
    """
    _arguments.check_tensor(x, "quantize")
    _arguments.check_format(format)
    kind, numbers = _arguments.geometry_of(geometry)
    scales = _arguments.scale_of(scale)
    seed_tensor = _arguments.seed_of(rounding, seed)
    if out is None:
        return _operators.quantize(x, format, seed_tensor, saturate, kind, numbers, scales)
    _arguments.check_tensor(out, "out")
    if torch.is_grad_enabled() and out.requires_grad:
        raise RuntimeError("quantize(): out requires grad, but casts are not differentiable.")
    _operators.quantize_out(x, format, seed_tensor, saturate, kind, numbers, scales, out)
    return out


def block_scales(x: Tensor, format: str, geometry: Geometry | None = None) -> Tensor:
    """The scales that :func:`quantize` gives the blocks of ``x``.

    Args:
        x: float32, bfloat16 or float16, any shape, on the CPU.
        format: one with blocks.
        geometry: which values share a scale; None: the format's own blocks.

    Returns:
        One-dimensional float32, one value per block in block order: what the integers (mx: the
        elements, ``sign``: +-1) are multiplied by; NaN where a value of the block is not finite.

    Raises:
        ValueError: an unknown format, one without blocks, or a dimension out of range.
        TypeError: another dtype.
    """
    _arguments.check_tensor(x, "block_scales")
    _arguments.check_format(format)
    return _operators.block_scales(x, format, *_arguments.geometry_of(geometry))


def encode(
    x: Tensor,
    format: str,
    saturate: bool = False,
    *,
    rounding: str = "nearest_even",
    seed: int | None = None,
) -> Tensor:
    """The packed bytes of ``x``: a little-endian bit string, value i in bits i*b to (i+1)*b-1.

    The scales of the blocks, if the format has such, follow in order: one byte or one float32 each.

    Args:
        x: float32, bfloat16 or float16, any shape, in row-major order, on the CPU.
        format, saturate, rounding, seed: as in :func:`quantize`.

    Returns:
        A one-dimensional uint8 tensor of ``ceil(x.numel() * bits / 8)`` bytes, and the scales'.

    Raises:
        ValueError: an unknown format or rounding, or a seed that is not allowed.
        TypeError: ``x`` is not float32, bfloat16 or float16.
    """
    _arguments.check_tensor(x, "encode")
    _arguments.check_format(format)
    return _operators.encode(x, format, _arguments.seed_of(rounding, seed), saturate)


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
    _arguments.check_tensor(data, "decode")
    _arguments.check_format(format)
    return _operators.decode(data, format, numel)
