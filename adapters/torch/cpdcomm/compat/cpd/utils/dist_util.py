"""CPD's names for sums of gradients over all ranks, and what goes with them."""

from __future__ import annotations

from ._dist_init import dist_init
from ._dist_module import DistModule, broadcast_params
from ._sums import kahan_sum_gradients, normal_sum_gradients, sum_gradients

__all__ = [
    "DistModule",
    "broadcast_params",
    "dist_init",
    "kahan_sum_gradients",
    "normal_sum_gradients",
    "sum_gradients",
]
