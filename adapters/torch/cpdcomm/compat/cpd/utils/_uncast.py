"""Sums of parts that are not cast before they are added: CPD's without APS.

The wire formats of ``cpdcomm.all_reduce`` cast every part on its way, which here would round once
more. So each rank gets all parts of its share in FP32, adds them, and packs the sums: they are in
the format already, and nothing more is lost.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor

from cpdcomm import decode, encode, quantize


def sum_uncast(gradients: list[Tensor], wire: str, kahan: bool) -> None:
    """Sums float tensors over the ranks of the default group, in place, in rank order.

    Args:
        gradients: of the same shapes on every rank; three FP32 copies are made of them.
        wire: a float format; every addition rounds to it.
        kahan: whether the sums are compensated.
    """
    ranks = dist.get_world_size()
    mine = _flattened(gradients, ranks)
    parts = torch.empty_like(mine)
    dist.all_to_all_single(parts, mine)
    add = _add_compensated if kahan else _add_rounded
    packed = encode(add(parts, partial(quantize, format=wire)), wire)
    everybody = packed.new_empty(ranks, packed.numel())
    dist.all_gather(list(everybody), packed)
    _unflatten(decode(everybody.view(-1), wire, mine.numel()), gradients)


def _flattened(gradients: list[Tensor], ranks: int) -> Tensor:
    """All values in FP32, in one row per rank, the last filled up with zeros.

    Rows are multiples of 8 values, so that packed rows end at bytes and join into one.
    """
    count = sum(gradient.numel() for gradient in gradients)
    row = -(-count // (8 * ranks)) * 8
    # Where the gradients lie, whatever torch's defaults are.
    flat = torch.zeros(ranks, row, dtype=torch.float32, device="cpu")
    begin = 0
    for gradient in gradients:
        flat.view(-1)[begin : begin + gradient.numel()] = gradient.reshape(-1)
        begin += gradient.numel()
    return flat


def _unflatten(flat: Tensor, gradients: list[Tensor]) -> None:
    begin = 0
    for gradient in gradients:
        values = flat[begin : begin + gradient.numel()]
        gradient.copy_(values.view(gradient.shape))
        begin += gradient.numel()


def _add_rounded(parts: Tensor, cast: partial[Tensor]) -> Tensor:
    total = torch.zeros_like(parts[0])
    for part in parts:
        total = cast(total + part)
    return total


def _add_compensated(parts: Tensor, cast: partial[Tensor]) -> Tensor:
    """W. Kahan's sum (CACM 8(1), 1965), every operation rounded."""
    total = torch.zeros_like(parts[0])
    excess = torch.zeros_like(parts[0])
    for part in parts:
        addend = cast(part - excess)
        more = cast(total + addend)
        excess = cast(cast(more - total) - addend)
        total = more
    return total
