"""The names of CPD (github.com/drcut/CPD) on this library's casts and collectives.

A program that was written for it changes its imports and nothing else::

    from cpdcomm.compat.cpd.quant import float_quantize, quantizer, Quantizer
    from cpdcomm.compat.cpd.utils.dist_util import DistModule, dist_init, sum_gradients

What differs in results, and why, is in adapters/torch/coming-from-cpd.md of the repository.
"""
