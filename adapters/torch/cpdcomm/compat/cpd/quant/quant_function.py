"""CPD's casts of tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from cpdcomm import fake_quantize, float_quantize

from .._format import FP32, float_format

__all__ = ["float_quantize", "quantizer"]


def quantizer(
    forward_exp: int = 8,
    forward_man: int = 23,
    backward_exp: int = 8,
    backward_man: int = 23,
) -> Callable[[Tensor], Tensor]:
    """A function that casts a tensor, and its gradient on the way back.

    Args:
        forward_exp, forward_man: exponent and mantissa bits of the tensor, (8, 23): unchanged.
        backward_exp, backward_man: those of the gradient, (8, 23): unchanged.

    Returns:
        A function of one float32, bfloat16 or float16 CPU tensor of any shape, which gives one of
        the same shape and dtype (:func:`cpdcomm.fake_quantize`). It can be pickled.

    Raises:
        ValueError: a width is out of range.
        TypeError: a width is no int.
    """
    forward = _cast(forward_exp, forward_man)
    backward = _cast(backward_exp, backward_man)
    return partial(fake_quantize, forward=forward, backward=backward)


def _cast(exp: int, man: int) -> str | None:
    name = float_format(exp, man)
    return None if (exp, man) == FP32 else name
