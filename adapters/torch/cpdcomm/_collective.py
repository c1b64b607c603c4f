"""cpdcomm.all_reduce: many tensors, one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from . import _C, _arguments
from ._backend import backend_of
from .errors import InvalidArgumentError

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_T = TypeVar("_T")


def all_reduce(
    tensors: Sequence[Tensor] | Tensor,
    wire: str | Sequence[str | None] | None = None,
    scaling: str | None = None,
    accumulate: str = "wide",
    algorithm: str = "automatic",
    op: str = "sum",
    group: dist.ProcessGroup | None = None,
    *,
    boundaries: Sequence[int] | None = None,
    rounding: str | None = None,
    seed: int | None = None,
) -> _C.Report:
    """Sums tensors over the ranks of a group, in place; every rank gets the same bits.

    Args:
        tensors: float32, bfloat16 or float16 CPU tensors of any shape, the same on every rank. With
            ``boundaries``, one flat tensor that holds many.
        wire: the format on the wire, or one per tensor (None in it: the group's). None is what the
            group's options say, fp32 unless asked.
        scaling: ``"aps"`` (one shared exponent per tensor), ``"aps:N"`` (per N values), ``"none"``.
            None means aps wherever a float wire other than fp32 is asked for.
        accumulate: how partial sums are kept: ``"wide"``, ``"rounded"``, ``"kahan"``. This and
            ``algorithm`` are the call's own, whatever the group's options say.
        algorithm: ``"automatic"``, ``"direct"``, ``"ring"``, ``"tree"`` or ``"halving_doubling"``.
        op: ``"sum"`` or ``"avg"``.
        group: None is the default group.
        boundaries: where each tensor ends in a flat buffer, ascending; the last is its size. Each
            gets its own exponent; nothing is copied.
        rounding: ``"nearest_even"`` or ``"stochastic"``, where the mean of a cast is the value; the
            latter not with ``"kahan"``. None is what the group's options say.
        seed: of stochastic rounding, 0 <= seed < 2**32, the same on all ranks. None is the group's,
            which all ranks get from rank 0's torch generator where its options name none (see
            :class:`Options`). Each stochastic all-reduce of the group that succeeds is a step, with
            random words of its own: the same calls on a new group give the same bits again.

    Returns:
        A report with ``wire_bytes`` (sent by this rank), ``logical_bytes``, ``algorithm``,
        ``non_finite`` (per tensor), ``codec_seconds``, ``wait_seconds``.

    Raises:
        ValueError: an argument is not allowed. The peers get a MismatchError.
        TypeError: a tensor of another dtype. The peers get a MismatchError.
        MismatchError: the ranks asked for different things; the group stays usable.
        TimeoutError, PeerFailedError: a peer is gone; the group is dead.
    """
    backend = backend_of(group)

    def prepare() -> tuple[list[Tensor], list[str | None], _C.AllreduceOptions]:
        parts = _checked_tensors(tensors, boundaries)
        options = call_options(backend, wire, scaling, accumulate, algorithm, op, rounding, seed)
        return parts, wires_for(wire, len(parts)), options

    parts, wires, options = or_refuse(backend, prepare)
    return backend.all_reduce(parts, wires, [], options)


def or_refuse(backend: _C.Backend, prepare: Callable[[], _T]) -> _T:
    """Runs a rank's own checks; the peers learn of what is wrong instead of waiting."""
    try:
        return prepare()
    except Exception as error:
        backend.refuse(str(error))
        raise


def check_tensor(tensor: Tensor, what: str) -> None:
    """Raises TypeError or ValueError unless low precision can sum this tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{what} is a {type(tensor).__name__}, not a tensor")
    if tensor.dtype not in _FLOATS:
        raise TypeError(
            f"{what} has dtype {tensor.dtype}; float32, bfloat16 and float16 are summed here "
            "(torch.distributed.all_reduce takes the others, exactly)"
        )
    if tensor.device.type != "cpu":
        raise ValueError(f"{what} is on device {tensor.device}; backend cpd takes CPU tensors")


def _checked_tensors(
    tensors: Sequence[Tensor] | Tensor, boundaries: Sequence[int] | None
) -> list[Tensor]:
    if boundaries is not None:
        return _split(tensors, list(boundaries))
    if isinstance(tensors, Tensor):
        tensors = [tensors]
    tensors = list(tensors)
    for i, tensor in enumerate(tensors):
        check_tensor(tensor, f"tensor {i}")
    return tensors


def _split(flat: Sequence[Tensor] | Tensor, ends: list[int]) -> list[Tensor]:
    """Views of a flat buffer, one for each tensor in it."""
    if not isinstance(flat, Tensor):
        if len(flat) != 1:
            raise ValueError(f"boundaries are for one flat tensor, not {len(flat)}")
        flat = flat[0]
    check_tensor(flat, "the flat buffer")
    if flat.dim() != 1:
        raise ValueError(f"boundaries need a one-dimensional tensor, not {tuple(flat.shape)}")
    begins = [0, *ends]
    if begins[-1] != flat.numel() or any(a > b for a, b in zip(begins, ends, strict=False)):
        raise ValueError(f"boundaries {ends} must ascend from 0 to {flat.numel()}")
    return [flat[a:b] for a, b in zip(begins, ends, strict=False)]


def wires_for(wire: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """One format per tensor, or none at all where the call has one for all."""
    if wire is None or isinstance(wire, str):
        return []
    wires = list(wire)
    if len(wires) != count:
        raise ValueError(f"{len(wires)} wire formats for {count} tensors")
    for i, name in enumerate(wires):
        if not isinstance(name, str | None):
            raise TypeError(f"wire format {i} is a {type(name).__name__}, not a name or None")
        if name is not None:
            _C.check_format(name)
    return wires


def call_options(
    backend: _C.Backend,
    wire: str | Sequence[str | None] | None,
    scaling: str | None,
    accumulate: str,
    algorithm: str,
    op: str,
    rounding: str | None,
    seed: int | None,
) -> _C.AllreduceOptions:
    """The call's options over the group's."""
    names = {
        "wire": wire,
        "scaling": scaling,
        "accumulate": accumulate,
        "algorithm": algorithm,
        "rounding": rounding,
    }
    for what, name in names.items():
        if not isinstance(name, str | None) and not (what == "wire" and isinstance(name, Sequence)):
            raise TypeError(f"{what} is {name!r}, a {type(name).__name__}; a name is taken")
    if op not in ("sum", "avg"):
        raise ValueError(f"unknown op '{op}': known are sum, avg")
    if scaling is None and wire is not None:
        scaling = "automatic"
    if seed is not None:
        _arguments.check_seed(seed)
    options = backend.defaults().over(
        wire=wire if isinstance(wire, str) else None,
        scaling=scaling,
        accumulate=accumulate,
        algorithm=algorithm,
        op=op,
        rounding=rounding,
        seed=seed,
    )
    if seed is not None and options.rounding != "stochastic":
        raise InvalidArgumentError(f"seed {seed} is for rounding 'stochastic' only")
    return options
