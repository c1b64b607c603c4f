"""The hook over backend "cpd"."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .._backend import backend_of
from .._collective import all_reduce, or_refuse
from .._eager import outside_of_graphs
from ._state import HookState, real_buffer, real_gradients


@outside_of_graphs
def allreduce_hook(state: HookState, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Averages a bucket's gradients over the ranks, in the wire format, where they lie.

    Each parameter has an exponent of its own, whatever bucket it is in: with algorithm ``"direct"``
    and rounding to nearest the same gradients give the same bits for every ``bucket_cap_mb``. The
    sum runs on the group's thread while backward goes on. Complex gradients are summed as real
    values, both parts of one with the same exponent; float64 ones as they are. ::

        model.register_comm_hook(HookState(model, wire="e4m3"), allreduce_hook)

    Raises:
        RuntimeError: in backward; torch makes one of all that an operation raises. The text says
            what it was: MismatchError where the ranks asked for different things, TimeoutError or
            PeerFailedError where a peer is gone and the group is dead.
        ValueError, UnsupportedError: in backward; the state is of another model, or gradients are
            sparse.
    """
    # What is wrong here alone, a stranger's parameters say, must not leave the peers waiting.
    gradients, options = or_refuse(backend_of(state.group), lambda: _prepared(state, bucket))
    buffer = bucket.buffer()
    state.count_step(bucket)
    if buffer.dtype in (torch.float64, torch.complex128):  # no wire format carries it
        flat = real_buffer(bucket)
        work = dist.all_reduce(flat, dist.ReduceOp.AVG, state.group, async_op=True)
    else:
        work = all_reduce(gradients, op="avg", group=state.group, async_op=True, **options).work
    return work.get_future().then(lambda ended: _buffer_of(ended, buffer))


def _prepared(state: HookState, bucket: dist.GradBucket) -> tuple[list[Tensor], dict[str, Any]]:
    """The bucket's gradients, and what this step asks of all_reduce."""
    gradients = real_gradients(bucket)
    parameters = bucket.parameters()
    names = state.names(parameters)
    if state.warming_up:
        return gradients, _exactly(state)
    asked = {
        "wire": state.wires(names, parameters),
        "scaling": state.scaling,
        "seed": state.seed,
        **state.options,
    }
    if state.error_feedback is not None or state.scale_memory is not None:
        asked["keys"] = names
        asked["error_feedback"] = state.error_feedback
        asked["scale_memory"] = state.scale_memory
    return gradients, asked


def _exactly(state: HookState) -> dict[str, Any]:
    """In fp32, by the algorithm of the other steps."""
    asked = {"wire": "fp32", "scaling": "none", "accumulate": "wide", "result": "full"}
    asked["inner"] = "wire"  # nor in the group's format inside a host
    return asked | {name: state.options[name] for name in ("algorithm", "across")}


def _buffer_of(ended: torch.futures.Future, buffer: Tensor) -> Tensor:
    ended.value()  # raises what the sum has raised
    return buffer
