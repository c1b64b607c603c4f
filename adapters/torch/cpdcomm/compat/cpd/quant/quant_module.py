"""CPD's casts as a layer."""

from __future__ import annotations

from torch import Tensor
from torch.nn import Module

from .quant_function import quantizer

__all__ = ["Quantizer"]


class Quantizer(Module):
    """A layer that casts what flows through it, and the gradient on its way back.

    Args:
        forward_exp, forward_man, backward_exp, backward_man: as of :func:`quantizer`.
    """

    def __init__(
        self,
        forward_exp: int = 8,
        forward_man: int = 23,
        backward_exp: int = 8,
        backward_man: int = 23,
    ) -> None:
        super().__init__()
        self.quantize = quantizer(forward_exp, forward_man, backward_exp, backward_man)

    def forward(self, x: Tensor) -> Tensor:
        return self.quantize(x)
