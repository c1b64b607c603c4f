"""CPD's sums of gradients (R. Han, J. Demmel, Y. You, arXiv:1911.08907) on a packed wire."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from cpdcomm import all_reduce
from cpdcomm._backend import backend_of
from cpdcomm._collective import check_tensor, or_refuse
from cpdcomm._eager import outside_of_graphs

from .._format import FP32, float_format
from ._uncast import sum_uncast


def sum_gradients(
    model: Module,
    use_APS: bool = False,
    grad_exp: int = 5,
    grad_man: int = 2,
    use_kahan: bool = False,
) -> None:
    """Sums the gradients of a model over all ranks, in place, rounding after every addition.

    The ranks' gradients are added in rank order to a sum of ``grad_exp`` exponent and ``grad_man``
    mantissa bits. What travels:

    - with ``use_APS``: gradients and sums packed in that format, ``1 + grad_exp + grad_man`` bits a
      value, after one power of two for each parameter has brought them into its range;
    - without it: gradients in FP32, because CPD rounds none before it is added; sums packed. The
      native ``cpdcomm.all_reduce(gradients, wire="e5m2", scaling="none", accumulate="rounded")``
      packs both, with one more rounding;
    - with (8, 23): FP32.

    Args:
        model: its parameters that require a gradient are summed, the same on every rank. A gradient
            that is missing counts as zero, and is the sum afterwards. They are float32, bfloat16 or
            float16, on the CPU, of any shape; sums are made in FP32 and rounded to their type once.
        use_APS: a shared exponent per parameter (auto precision scaling), so that small gradients
            do not underflow.
        grad_exp: 1 to 8.
        grad_man: 0 to 23.
        use_kahan: compensated sums.

    Raises:
        ValueError: a width is out of range, a gradient is not dense or not on the CPU, or the
            default group has another backend than cpd. The peers get a MismatchError.
        TypeError: a width is no int, or a gradient has another dtype. The same for the peers.
        MismatchError: the ranks asked for different things; the group stays usable.
        TimeoutError, PeerFailedError: a peer is gone; the group is dead.
    """
    _sum(model, grad_exp, grad_man, aps=use_APS, kahan=use_kahan)


def normal_sum_gradients(model: Module, grad_exp: int = 8, grad_man: int = 23) -> None:
    """:func:`sum_gradients` without APS, not compensated."""
    _sum(model, grad_exp, grad_man, aps=False, kahan=False)


def kahan_sum_gradients(model: Module, grad_exp: int = 8, grad_man: int = 23) -> None:
    """:func:`sum_gradients` without APS, compensated."""
    _sum(model, grad_exp, grad_man, aps=False, kahan=True)


@torch.no_grad()
@outside_of_graphs
def _sum(model: Module, exp: int, man: int, *, aps: bool, kahan: bool) -> None:
    def prepare() -> tuple[str, list[Tensor]]:
        return float_format(exp, man), _gradients_of(model)

    wire, gradients = or_refuse(backend_of(None), prepare)
    if not aps and (exp, man) != FP32:
        sum_uncast(gradients, wire, kahan)
        return
    # All is named, because a group's options or the environment may ask for something else.
    all_reduce(
        gradients,
        wire,
        scaling="aps" if aps else "none",
        accumulate="kahan" if kahan else "rounded",
        algorithm="direct",
        rounding="nearest_even",
        result="full",
    )


def _gradients_of(model: Module) -> list[Tensor]:
    gradients = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        check_tensor(parameter.grad, f"the gradient of {name}")
        if parameter.grad.layout != torch.strided:
            raise ValueError(
                f"the gradient of {name} has layout {parameter.grad.layout}; dense ones are summed"
            )
        gradients.append(parameter.grad.detach())
    return gradients
