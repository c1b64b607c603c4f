"""Low precision for FSDP2 and HSDP (``torch.distributed.fsdp.fully_shard``). ::

    model = fully_shard(model, mesh=mesh)          # a mesh whose groups have backend "cpd"
    cpdcomm.fsdp.compress(model, wire="e4m3")

The gradients' reduce-scatter then travels in the wire format, with an exponent per parameter, and
so does the all-reduce between replicas: of HSDP in the format that the group's own options say, or
:func:`cpdcomm.options`; replicas that FSDP does not know of are averaged by
:func:`all_reduce_hook`. Complex gradients are summed as real values, float64 ones as they are. Not
imported by ``import cpdcomm``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultReduceScatter

from . import _C
from ._collective import all_reduce, reduce_scatter
from ._eager import outside_of_graphs
from ._options import Options
from ._shares import Shares
from .errors import InvalidArgumentError, UnsupportedError

_NAMED = ("scaling", "accumulate", "algorithm", "rounding", "seed")
_OPS = {dist.ReduceOp.SUM: "sum", dist.ReduceOp.AVG: "avg"}
_TORCHS_OPS = {name: op for op, name in _OPS.items()}
_KEPT = {"error_feedback", "scale_memory"}


class ReduceScatter(DefaultReduceScatter):
    """For ``FSDPModule.set_custom_reduce_scatter``; :func:`compress` makes one for each module.

    Args:
        module: the FSDP module whose gradients it sums: those of parameters that are neither frozen
            nor unused, each with an exponent of its own. A buffer that FSDP has not laid out for
            this module has one for each 512 values of a share.
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

    @outside_of_graphs
    def allocate(
        self, size: tuple[int, ...], *, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Room for FSDP's flat buffers. What is a share is known to HSDP's all-reduce, too."""
        buffer = torch.empty(*size, dtype=dtype, device=device)
        if shares := Shares.known(buffer.numel(), self._module):
            _C.note_ends(buffer, shares.ends)
        return buffer

    @outside_of_graphs
    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> dist.Work | None:
        """Called by FSDP."""
        output, parts = _real(output_tensor), _real(input_tensor)
        if output.dtype == torch.float64:  # no wire format carries it
            return super().__call__(output, parts, group, op, async_op)
        pending = reduce_scatter(
            output,
            parts,
            op=_op_of(op),
            group=group,
            boundaries=_real_ends(Shares.of(output_tensor.numel(), self._module), output_tensor),
            async_op=True,
            **self._named,
        )
        if async_op:
            return pending.work
        pending.wait()
        return None


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
        wire, named: as of :func:`cpdcomm.all_reduce`; ``op`` is ``"avg"`` unless named. Each
            parameter has an exponent of its own, and its name in the model is the key of what is
            kept for it; ``boundaries`` and ``keys`` are not taken.

    Raises:
        ValueError: ``op`` is another one than ``"sum"`` or ``"avg"``.
        TypeError: ``boundaries`` or ``keys`` are given.
    """
    for name in ("boundaries", "keys"):
        if name in named:
            raise TypeError(f"{name} is given; FSDP's own parameters say it")
    named = {"op": "avg", "group": group} | named
    if named["op"] not in _TORCHS_OPS:
        raise InvalidArgumentError(f"unknown op '{named['op']}': known are sum, avg")

    @outside_of_graphs
    def hook(reduce_output: Tensor) -> None:
        values = _real(reduce_output)
        if values.dtype == torch.float64:  # no wire format carries it
            dist.all_reduce(values, _TORCHS_OPS[named["op"]], group)
            return
        shares = Shares.of(reduce_output.numel())
        ends = _real_ends(shares, reduce_output)
        keys = shares.names if _KEPT & named.keys() else None
        all_reduce(values, wire, boundaries=ends, keys=keys, **named)

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


def _real(flat: Tensor) -> Tensor:
    """The values themselves; of complex ones real and imaginary parts take turns."""
    return torch.view_as_real(flat).view(-1) if flat.is_complex() else flat


def _real_ends(shares: Shares, flat: Tensor) -> list[int]:
    """Where the shares end in the real values of a flat tensor."""
    return [end * (2 if flat.is_complex() else 1) for end in shares.ends]
