"""torch.ops.cpdcomm: the operators, and what they give without computing it.

The fake kernels here are what ``torch.compile`` traces with; csrc/operators.cpp has the real ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import _C
from .errors import InvalidArgumentError


def _operator(name: str):
    """An operator for calls by position: in a graph by its schema, else by the faster way."""
    traced = getattr(torch.ops.cpdcomm, name).default
    direct = getattr(_C, name)

    def call(*arguments):
        return (traced if torch.compiler.is_compiling() else direct)(*arguments)

    return call


quantize = _operator("quantize")
quantize_out = _operator("quantize_out")
float_quantize = _operator("float_quantize")
block_scales = _operator("block_scales")
encode = _operator("encode")
decode = _operator("decode")


def _ceil_div(a, b):
    return (a + b - 1) // b


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format, requires_grad=False)


@torch.library.register_fake("cpdcomm::quantize")
def _(x, format, seed=None, saturate=False, geometry=None, numbers=(), scale=None):
    _C.info(format)
    return _like(x)


@torch.library.register_fake("cpdcomm::quantize_out")
def _(x, format, seed, saturate, geometry, numbers, scale, out):
    _C.info(format)


@torch.library.register_fake("cpdcomm::float_quantize")
def _(x, exp, man, saturate=False):
    return _like(x)


@torch.library.register_fake("cpdcomm::block_scales")
def _(x, format, geometry=None, numbers=()):
    block = _C.blocks(format)[0]
    if block == 0:
        raise InvalidArgumentError(f"{format} casts each value by itself and has no scales")
    if geometry is None:
        geometry, numbers = "flat", (block,)
    return x.new_empty(_block_count(x, geometry, numbers), dtype=torch.float32)


def _block_count(x, geometry, numbers):
    dims = {"axes": numbers, "tiles": numbers[1:]}.get(geometry, ())
    for dim in dims:
        if not -x.dim() <= dim < x.dim():
            raise InvalidArgumentError(
                f"the geometry names dimension {dim}; the tensor has {x.dim()}"
            )
    if x.numel() == 0:
        return 0
    if geometry == "flat":
        return _ceil_div(x.numel(), numbers[0])
    if geometry == "tensor":
        return 1
    if geometry == "axes":
        return math.prod(x.shape[axis] for axis in numbers)
    size, *dims = numbers
    tiles = math.prod(_ceil_div(x.shape[dim], size) for dim in dims)
    named = {dim % x.dim() for dim in dims}
    return tiles * math.prod(n for dim, n in enumerate(x.shape) if dim not in named)


@torch.library.register_fake("cpdcomm::encode")
def _(x, format, seed=None, saturate=False):
    bits = _C.info(format).bits
    block, scale_bytes = _C.blocks(format)
    count = x.numel()
    size = count // 8 * bits + _ceil_div(count % 8 * bits, 8)
    if block:
        size += _ceil_div(count, block) * scale_bytes
    return x.new_empty(size, dtype=torch.uint8)


@torch.library.register_fake("cpdcomm::decode")
def _(data, format, numel):
    _C.info(format)
    return data.new_empty(numel, dtype=torch.float32)
