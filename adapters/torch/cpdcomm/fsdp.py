"""Low precision for FSDP2 and HSDP (``torch.distributed.fsdp.fully_shard``). ::

    model = fully_shard(model, mesh=mesh)          # a mesh whose groups have backend "cpd"
    cpdcomm.fsdp.compress(model, wire="e4m3")

The gradients' reduce-scatter then travels in the wire format, with an exponent per parameter. Of
HSDP the all-reduce between replicas is what the group's own options say, or
:func:`cpdcomm.options`; replicas that FSDP does not know of are averaged by
:func:`all_reduce_hook`. Not imported by ``import cpdcomm``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate as running_sum
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter as _ReduceScatter

from ._collective import all_reduce, reduce_scatter
from ._options import Options
from .errors import InvalidArgumentError, UnsupportedError

_NAMED = ("scaling", "accumulate", "algorithm", "rounding", "seed")
_OPS = {dist.ReduceOp.SUM: "sum", dist.ReduceOp.AVG: "avg"}


class ReduceScatter(_ReduceScatter):
    """For ``FSDPModule.set_custom_reduce_scatter``; :func:`compress` makes one for each module.

    Args:
        module: the FSDP module whose gradients it sums. Their places in the flat buffer are known
            where all its parameters have gradients; else the buffer has one exponent.
        wire: the format on the wire; None is the group's.
        named: ``scaling``, ``accumulate``, ``algorithm``, ``rounding``, ``seed`` as of
            :func:`cpdcomm.reduce_scatter`.
    """

    def __init__(self, module: FSDPModule, wire: str | None = None, **named: Any) -> None:
        for name in named:
            if name not in _NAMED:
                raise TypeError(f"unknown argument {name!r}: known are wire, {', '.join(_NAMED)}")
        Options(wire=wire, **named)  # what backward would refuse
        self._module = module
        self._named = {"wire": wire, **named}

    def allocate(
        self, size: tuple[int, ...], *, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Room for FSDP's flat buffers."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> dist.Work | None:
        """Called by FSDP."""
        pending = reduce_scatter(
            output_tensor,
            input_tensor,
            op=_op_of(op),
            group=group,
            boundaries=self._boundaries(output_tensor.numel()),
            async_op=True,
            **self._named,
        )
        if async_op:
            return pending.work
        pending.wait()
        return None

    def _boundaries(self, count: int) -> list[int] | None:
        """Where each parameter ends in a share; None where that cannot be known."""
        ends = list(running_sum(_shares(self._module)))
        return ends if ends and ends[-1] == count else None


def compress(
    model: nn.Module,
    wire: str | None = None,
    *,
    replicas: dist.ProcessGroup | None = None,
    **named: Any,
) -> None:
    """Puts a :class:`ReduceScatter` into every FSDP module of a model.

    Args:
        model: after ``fully_shard``; its meshes' groups have backend "cpd" for the CPU.
        wire, named: as of :class:`ReduceScatter`.
        replicas: a group of backend "cpd" that FSDP does not know of, over which each shard is
            averaged, by an :func:`all_reduce_hook` in every FSDP module.

    Raises:
        ValueError: no module of the model is an FSDP module.
    """
    modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not modules:
        raise InvalidArgumentError("no module of the model is sharded: call fully_shard before")
    for module in modules:
        module.set_custom_reduce_scatter(ReduceScatter(module, wire, **named))
        if replicas is not None:
            module.set_all_reduce_hook(all_reduce_hook(replicas, wire, **named))


def all_reduce_hook(
    group: dist.ProcessGroup, wire: str | None = None, **named: Any
) -> Callable[[Tensor], None]:
    """A hook for ``FSDPModule.set_all_reduce_hook``: averages what the reduce-scatter gave.

    For replicas that FSDP does not know of: with a two-dimensional mesh FSDP has an all-reduce of
    its own, and the hook would be another one after it.

    Args:
        group: the replicas, of backend "cpd".
        wire, named: as of :func:`cpdcomm.all_reduce`; ``op`` is ``"avg"`` unless named.
    """
    named.setdefault("op", "avg")

    def hook(reduce_output: Tensor) -> None:
        all_reduce(reduce_output, wire, group=group, **named)

    return hook


def _op_of(op: Any) -> str:
    """The library's name of FSDP's operator."""
    for known, name in _OPS.items():
        if op == known:
            return name
    raise UnsupportedError(
        f"FSDP asks for {op}; SUM and AVG are summed in low precision: leave out "
        "set_gradient_divide_factor, or call set_force_sum_reduction_for_comms(True)"
    )


def _shares(module: FSDPModule) -> list[int]:
    """Values of each parameter in a rank's share: rows are padded to a multiple of the ranks."""
    state = module._get_fsdp_state()
    # torch 2.11 has one group a module.
    groups = getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]
    parameters = [parameter for group in groups if group for parameter in group.fsdp_params]
    return [parameter.padded_sharded_param_size.numel() for parameter in parameters]
