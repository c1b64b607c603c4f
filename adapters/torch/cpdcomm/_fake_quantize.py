"""Fake quantization: a cast in the forward pass, another in the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _arguments, _operators
from ._geometry import Geometry
from .errors import InvalidArgumentError

# Takes the seed of the forward cast to that of the backward cast: no pair of near seeds does.
_OTHER_SEED = 0x9E3779B9


def fake_quantize(
    x: Tensor,
    forward: str | None = None,
    backward: str | None = None,
    *,
    rounding: str = "nearest_even",
    seed: int | None = None,
    saturate: bool = False,
    geometry: Geometry | None = None,
    scale: float | Tensor | None = None,
    backward_geometry: Geometry | None = None,
    out: Tensor | None = None,
    inplace: bool = False,
) -> Tensor:
    """``x`` cast to ``forward``; its gradient goes straight through, or is cast to ``backward``.

    The derivative of a cast is taken to be 1 everywhere, also where values saturate (the
    straight-through estimator of Y. Bengio et al., Estimating or propagating gradients through
    stochastic neurons, 2013). So is that of the gradient's cast, in second derivatives; what of
    them arrives at ``x`` is cast to ``backward`` like any gradient. FP32 goes to FP32; packed bytes
    are never made.

    Args:
        x: float32, bfloat16 or float16, any shape, on the CPU.
        forward: a format, or None: ``x`` itself, as a view.
        backward: a format for the gradient, or None: unchanged.
        rounding: ``"nearest_even"`` or ``"stochastic"``, of both casts.
        seed: of the forward cast, see :func:`quantize`. The gradient is cast with the seed
            ``seed ^ 0x9e3779b9``, so that no random word is used twice.
        saturate: a finite overflow gives the largest finite value instead of Inf, in both casts.
        geometry, scale: of the forward cast, see :func:`quantize`.
        backward_geometry: of the gradient's cast.
        out: where to write the result, of x's shape and dtype. Not for what autograd records.
        inplace: writes the result to ``x`` and returns ``x``. While autograd records, the cast is
            made beside ``x`` and copied; torch's rules for in-place operations apply.

    Returns:
        A tensor of x's shape and dtype.

    Raises:
        ValueError: as :func:`quantize`; ``out`` together with ``inplace``; a geometry or a scale
            without its format.
        TypeError: another dtype.
        RuntimeError: ``out=`` where autograd records; in place on a leaf that requires a gradient.
    """
    _arguments.check_tensor(x, "fake_quantize")
    if out is not None and inplace:
        raise InvalidArgumentError(
            "out and inplace are both given: either is where the result goes"
        )
    if forward is None and (geometry is not None or scale is not None):
        raise InvalidArgumentError(
            "geometry and scale are of the forward cast, and forward is None"
        )
    if backward is None and backward_geometry is not None:
        raise InvalidArgumentError("backward_geometry is given, and backward is None")
    for format in (forward, backward):
        if format is not None:
            _arguments.check_format(format)
    seed_tensor = _arguments.seed_of(rounding, seed)
    # What _operators.quantize takes behind x, of both casts.
    cast = None
    if forward is not None:
        kind, numbers = _arguments.geometry_of(geometry)
        cast = (forward, seed_tensor, saturate, kind, numbers, _arguments.scale_of(scale))
    gradient_cast = None
    if backward is not None:
        kind, numbers = _arguments.geometry_of(backward_geometry)
        other = None if seed_tensor is None else seed_tensor ^ _OTHER_SEED
        gradient_cast = (backward, other, saturate, kind, numbers, None)

    records = torch.is_grad_enabled() and x.requires_grad
    if out is not None:
        _arguments.check_tensor(out, "out")
        if records or (torch.is_grad_enabled() and out.requires_grad):
            raise RuntimeError(
                "fake_quantize(): functions with out=... arguments don't support automatic "
                "differentiation, but one of the arguments requires grad."
            )
        return _cast_into(x, cast, out)
    if inplace and not records:
        return _cast_into(x, cast, x)
    result = _straight_through(x, cast, gradient_cast, records)
    return x.copy_(result) if inplace else result


def _cast_into(x: Tensor, cast, out: Tensor) -> Tensor:
    if cast is None:
        cast = ("fp32", None, False, None, (), None)  # bit for bit
    _operators.quantize_out(x, *cast, out)
    return out


def _straight_through(x: Tensor, cast, gradient_cast, records: bool) -> Tensor:
    if records:
        seed = None if gradient_cast is None else gradient_cast[1]
        return _StraightThrough.apply(x, seed, cast, gradient_cast)
    return x.view_as(x) if cast is None else _operators.quantize(x, *cast)


class _StraightThrough(torch.autograd.Function):
    # The seed of the gradient's cast is an argument of its own: only such tensors can be saved.
    @staticmethod
    def forward(x, seed, cast, gradient_cast):
        return x.view_as(x) if cast is None else _operators.quantize(x, *cast)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, seed, _, gradient_cast = inputs
        ctx.gradient_cast = None
        if gradient_cast is not None:
            format, _, *rest = gradient_cast
            ctx.gradient_cast = (format, rest)
        if seed is not None:
            ctx.save_for_backward(seed)

    @staticmethod
    def backward(ctx, gradient):
        if ctx.gradient_cast is None:
            return gradient, None, None, None
        format, rest = ctx.gradient_cast
        saved = ctx.saved_tensors  # to be asked for once, where activations are checkpointed
        seed = saved[0] if saved else None
        records = torch.is_grad_enabled() and gradient.requires_grad
        return _straight_through(gradient, (format, seed, *rest), None, records), None, None, None
