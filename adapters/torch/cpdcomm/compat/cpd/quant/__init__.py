"""Casts to low precision, under CPD's names."""

from __future__ import annotations

from .quant_function import float_quantize, quantizer
from .quant_module import Quantizer

__all__ = ["Quantizer", "float_quantize", "quantizer"]

_OF_THE_GEMM = ("quant_gemm", "Quant_Linear", "Quant_Conv")


def __getattr__(name: str) -> object:
    if name in _OF_THE_GEMM:
        # An AttributeError's text would not reach `from ... import`.
        raise ImportError(
            f"{name} needs a GEMM with a custom accumulator, which this release of cpdcomm does "
            f"not have; {', '.join(__all__)} are here"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
