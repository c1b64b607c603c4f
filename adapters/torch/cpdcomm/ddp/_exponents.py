"""APS in torch operations: an exponent per tensor, which all ranks share."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor

from .._finfo import finfo

# Of a tensor that is zero, and of one that is not finite: the ends of int16, as on the wire.
_NOTHING = -(1 << 15)
_NON_FINITE = (1 << 15) - 1
_MANTISSA_BITS = 24


class Exponents:
    """E = ceil(log2(largest magnitude * ranks)) of each tensor, and what follows from it."""

    def __init__(self, wire: str, exponents: list[int]) -> None:
        self._exponents = exponents
        self._top = _top(wire)

    @classmethod
    def agreed(cls, wire: str, tensors: list[Tensor], group: dist.ProcessGroup) -> Exponents:
        """Of tensors that every rank has; one all-reduce. Nothing is scaled in fp32."""
        if wire == "fp32":
            return cls(wire, [_top(wire)] * len(tensors))
        largest = torch.stack([_largest(tensor) for tensor in tensors]).tolist()
        own = [_exponent(value, group.size()) for value in largest]
        device = tensors[0].device
        words = torch.tensor(own, dtype=torch.int32, device=device)
        dist.all_reduce(words, op=dist.ReduceOp.MAX, group=group)
        return cls(wire, words.tolist())

    def scaled(self, values: Tensor, counts: list[int]) -> Tensor:
        """Float32 values of all tensors times 2**shift, exactly as far as float32 goes."""
        factors = [2.0 ** self._shift(e) if self._is_number(e) else 0.0 for e in self._exponents]
        parts = values.split(counts)
        return torch.cat(
            [
                torch.zeros_like(part) if factor == 0.0 else (part.double() * factor).float()
                for part, factor in zip(parts, factors, strict=True)
            ]
        )

    def unscaled(self, values: Tensor, counts: list[int]) -> Tensor:
        """The inverse, rounded to float32 once; NaN where some rank was not finite."""
        made = []
        for part, exponent in zip(values.split(counts), self._exponents, strict=True):
            if exponent == _NON_FINITE:
                made.append(torch.full_like(part, math.nan))
            elif exponent == _NOTHING:
                made.append(torch.zeros_like(part))
            else:
                made.append((part.double() * 2.0 ** -self._shift(exponent)).float())
        return torch.cat(made)

    def _shift(self, exponent: int) -> int:
        return self._top - exponent

    @staticmethod
    def _is_number(exponent: int) -> bool:
        return exponent not in (_NOTHING, _NON_FINITE)


def _top(wire: str) -> int:
    """The exponent of the format's largest value."""
    return math.frexp(finfo(wire).largest)[1] - 1


def _largest(tensor: Tensor) -> Tensor:
    """The largest magnitude; NaN and Inf win."""
    if tensor.numel() == 0:
        return torch.zeros((), dtype=torch.float32, device=tensor.device)
    return tensor.detach().float().abs().amax()


def _exponent(largest: float, ranks: int) -> int:
    """From integers: the float32 product would round."""
    if not math.isfinite(largest):
        return _NON_FINITE
    if largest == 0:
        return _NOTHING
    mantissa, exponent = math.frexp(largest)
    whole = int(mantissa * 2**_MANTISSA_BITS) * ranks
    return (whole - 1).bit_length() + exponent - _MANTISSA_BITS
