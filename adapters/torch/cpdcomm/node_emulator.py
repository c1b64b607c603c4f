"""Node emulation: few ranks stand for many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Module, Parameter

from . import _C
from ._backend import backend_of, backend_of_one
from ._collective import call_options, check_tensor, or_refuse, remember, wires_for
from ._delayed_scaling import DelayedScaling
from ._eager import outside_of_graphs
from .errors import InvalidArgumentError


class NodeEmulator:
    """R ranks that stand for R hosts of N ranks: each micro-batch's gradient is a node's part.

    The N parts of a rank join in their order, cast and added as ranks' parts are, then the ranks'
    partial sums do; all share one exponent per tensor. The N gradients
    are kept until then, so memory grows by N times the model. ::

        emulator = cpdcomm.NodeEmulator(model, nodes=8, wire="e4m3")
        optimizer.zero_grad()
        for micro_batch in micro_batches:            # 8 of them
            with model.no_sync():                    # where model is DistributedDataParallel
                loss(model(micro_batch)).backward()
            emulator.add()
        report = emulator.reduce()                   # model's gradients are the sum now
        optimizer.step()

    Without a process group it works for one process alone.

    Args:
        model: a module, or its parameters. Those that need no gradient are skipped; a gradient that
            is missing in a micro-batch counts as zero.
        nodes: N, at least 1. With 1 nothing is emulated.
        wire, scaling, accumulate, algorithm, op, group, rounding, seed, result, scale_memory: as in
            :func:`cpdcomm.all_reduce`, a list of formats for the parameters that need a gradient,
            whose numbers are the keys of ``scale_memory``; ``"avg"`` divides by ranks times nodes.
            Not with ``"hierarchical"``, and without error feedback.

    Raises:
        ValueError: an argument is not allowed, or not together with the others.
        TypeError: an argument is of another type.
    """

    @outside_of_graphs
    def __init__(
        self,
        model: Module | Iterable[Parameter],
        nodes: int,
        *,
        wire: str | Sequence[str | None] | None = None,
        scaling: str | None = None,
        accumulate: str | None = None,
        algorithm: str | None = None,
        op: str = "sum",
        group: dist.ProcessGroup | None = None,
        rounding: str | None = None,
        seed: int | None = None,
        result: str | None = None,
        scale_memory: DelayedScaling | None = None,
    ) -> None:
        if not isinstance(nodes, int) or nodes < 1:
            raise InvalidArgumentError(f"nodes is {nodes}; at least 1 is allowed")
        if isinstance(model, Tensor):
            raise TypeError("model is a tensor; a module or a list of parameters is taken")
        parameters = model.parameters() if isinstance(model, Module) else model
        unique = {id(p): p for p in parameters}.values()  # shared ones have one gradient
        self.parameters = [p for p in unique if p.requires_grad]
        self.nodes = nodes
        alone = group is None and not dist.is_initialized()
        self._backend = backend_of_one() if alone else backend_of(group)
        self._options: _C.AllreduceOptions = call_options(
            self._backend,
            wire,
            seed,
            op=op,
            scaling=scaling,
            accumulate=accumulate,
            algorithm=algorithm,
            rounding=rounding,
            result=result,
        )
        self._wires = wires_for(wire, len(self.parameters))
        self._options.check(self._wires)  # now, not when gradients are at stake
        self._options.emulate_nodes = nodes
        self._scale_memory = scale_memory
        remember(self._call([]), None, scale_memory, None)
        self._parts: list[list[Tensor]] = []

    @outside_of_graphs
    def add(self) -> None:
        """Takes the parameters' gradients as the next node's part; ``.grad`` is None afterwards.

        Raises:
            ValueError: all nodes have their part already.
            TypeError: a gradient is not float32, bfloat16 or float16.
        """
        if len(self._parts) == self.nodes:
            raise InvalidArgumentError(
                f"all {self.nodes} nodes have their part: call reduce() before the next add()"
            )
        self._parts.append([self._take(i, p) for i, p in enumerate(self.parameters)])

    @outside_of_graphs
    def reduce(self) -> _C.Report:
        """Sums the parts of all nodes on all ranks into the parameters' ``.grad``.

        Returns:
            The report of the all-reduce.

        Raises:
            ValueError: some node has no part yet. The peers get a MismatchError.
            MismatchError, TimeoutError, PeerFailedError: as :func:`cpdcomm.all_reduce`.
        """
        or_refuse(self._backend, self._check_complete)
        parts, self._parts = self._parts, []
        by_tensor = [list(of_tensor) for of_tensor in zip(*parts, strict=True)]
        # A value's result is written after its parts were read: the first part's memory serves.
        sums = parts[0]
        call = self._call(sums)
        call.nodes = by_tensor if self.nodes > 1 else []
        remember(call, None, self._scale_memory, None)
        report = self._backend.all_reduce(call, self._wires).wait()
        for parameter, total in zip(self.parameters, sums, strict=True):
            parameter.grad = total
        return report

    def _call(self, tensors: list[Tensor]) -> _C.Call:
        call = _C.Call()
        call.tensors = tensors
        call.options = self._options
        return call

    def _check_complete(self) -> None:
        if len(self._parts) != self.nodes:
            raise InvalidArgumentError(
                f"{len(self._parts)} of {self.nodes} nodes have their part: call add() after the "
                "backward pass of every micro-batch"
            )

    @staticmethod
    def _take(index: int, parameter: Parameter) -> Tensor:
        gradient, parameter.grad = parameter.grad, None
        if gradient is None:
            check_tensor(parameter, f"parameter {index}")
            return torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        check_tensor(gradient, f"the gradient of parameter {index}")
        return gradient.detach().contiguous()
