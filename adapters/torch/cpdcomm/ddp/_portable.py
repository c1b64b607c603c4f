"""The hook over any group: packed bytes by all_to_all and all_gather of uint8."""

import torch
import torch.distributed as dist
from torch import Tensor

from .._eager import outside_of_graphs
from .._tensor_ops import decode, encode
from ..errors import InvalidArgumentError
from ._exponents import Exponents
from ._state import HookState, has_blocks, real_buffer, real_gradients

# Shares are cut at so many values, so that each begins on a byte.
_CUT = 8


@outside_of_graphs
def portable_hook(state: HookState, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """:func:`allreduce_hook` over a group of any backend, such as gloo or NCCL.

    Every rank casts its gradients, with an exponent per parameter, and sends each rank a share of
    them; who has a share sums it in rank order in float32, casts it once more and sends it to all.
    For formats of up to 7 exponent bits, and for what is exempt, these are the bits of
    ``all_reduce(..., "direct")`` over backend "cpd". Complex gradients are summed as real values,
    float64 ones by the group's own all-reduce. It encodes on the CPU, in the thread of
    backward: where the backend can be changed, :func:`allreduce_hook` is faster.

    Raises:
        ValueError, UnsupportedError: in backward; the state asks for what only backend "cpd" can
            do, or gradients are sparse.
    """
    _check(state)
    parameters = bucket.parameters()
    names = state.names(parameters)
    gradients = real_gradients(bucket)
    group = state.group or dist.group.WORLD
    low: list[Tensor] = []
    full: list[Tensor] = []
    for gradient, wire in zip(gradients, state.wires(names, parameters), strict=True):
        (full if state.warming_up or wire == "fp32" else low).append(gradient)
    state.count_step(bucket)
    if gradients[0].dtype == torch.float64:
        _average_uncast(real_buffer(bucket), group)
    else:
        _average_in("fp32", full, group)
        _average_in(state.wire, low, group)
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def _check(state: HookState) -> None:
    if state.wire is None or has_blocks(state.wire):
        raise InvalidArgumentError(
            f"wire is {state.wire!r}; the portable hook takes a float format such as 'e4m3'"
        )
    asked = {name: value for name, value in state.options.items() if value is not None}
    asked.pop("algorithm", None)
    if asked.get("rounding") == "nearest_even":
        del asked["rounding"]
    if asked.pop("accumulate", "wide") != "wide" or state.scaling not in (None, "aps"):
        raise InvalidArgumentError(
            "the portable hook sums with accumulate 'wide' and scaling 'aps' alone"
        )
    if asked or state.seed is not None or state.error_feedback is not None:
        raise InvalidArgumentError(
            "the portable hook knows neither error feedback, nor stochastic rounding, nor "
            f"{sorted(asked) or 'a seed'}: backend 'cpd' with allreduce_hook does"
        )


def _average_uncast(values: Tensor, group: dist.ProcessGroup) -> None:
    """Float64, which no wire format carries."""
    dist.all_reduce(values, group=group)
    values.div_(group.size())


def _average_in(wire: str, gradients: list[Tensor], group: dist.ProcessGroup) -> None:
    """In a wire format."""
    if not gradients:
        return
    ranks = group.size()
    counts = [gradient.numel() for gradient in gradients]
    exponents = Exponents.agreed(wire, gradients, group)
    parts = torch.cat([gradient.detach().reshape(-1).float().cpu() for gradient in gradients])
    share = -(-parts.numel() // (ranks * _CUT)) * _CUT
    padded = parts.new_zeros(ranks * share)
    padded[: parts.numel()] = exponents.scaled(parts, counts)
    sent = torch.cat([encode(part, wire, saturate=True) for part in padded.split(share)])
    device = gradients[0].device
    received = _all_to_all(sent.to(device), group).cpu()
    first, *others = (decode(part.contiguous(), wire, share) for part in received.view(ranks, -1))
    total = sum(others, first)
    mine = encode(total, wire, saturate=True).to(device)
    shares = torch.empty(ranks * mine.numel(), dtype=torch.uint8, device=device)
    dist.all_gather_into_tensor(shares, mine, group=group)
    sums = [decode(part.contiguous(), wire, share) for part in shares.cpu().view(ranks, -1)]
    result = exponents.unscaled(torch.cat(sums)[: parts.numel()], counts)
    _put(result / ranks, gradients)


def _all_to_all(sent: Tensor, group: dist.ProcessGroup) -> Tensor:
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return received


def _put(flat: Tensor, gradients: list[Tensor]) -> None:
    first = 0
    for gradient in gradients:
        part = flat[first : first + gradient.numel()]
        gradient.copy_(part.view_as(gradient))
        first += gradient.numel()
