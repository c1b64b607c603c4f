"""cpdcomm.all_reduce: many tensors, one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from . import _C, _arguments
from ._backend import backend_of
from ._delayed_scaling import DelayedScaling
from ._eager import outside_of_graphs
from ._error_feedback import ErrorFeedback
from ._keyed import Key, keys_for
from .errors import InvalidArgumentError

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_T = TypeVar("_T")


@outside_of_graphs
def all_reduce(
    tensors: Sequence[Tensor] | Tensor,
    wire: str | Sequence[str | None] | None = None,
    scaling: str | None = None,
    accumulate: str | None = None,
    algorithm: str | None = None,
    op: str = "sum",
    group: dist.ProcessGroup | None = None,
    *,
    boundaries: Sequence[int] | None = None,
    rounding: str | None = None,
    seed: int | None = None,
    across: str | None = None,
    inner: str | None = None,
    result: str | None = None,
    out: Sequence[Tensor] | Tensor | None = None,
    input_factor: float = 1.0,
    output_factor: float = 1.0,
    error_feedback: ErrorFeedback | None = None,
    scale_memory: DelayedScaling | None = None,
    keys: Sequence[Key] | None = None,
    async_op: bool = False,
) -> _C.Report | _C.Pending:
    """Sums tensors over the ranks of a group, in place; every rank gets the same bits.

    Args:
        tensors: float32, bfloat16 or float16 CPU tensors of any shape, the same on every rank, that
            do not overlap. With ``boundaries``, one flat tensor that holds many.
        wire: the format on the wire, or one per tensor (None in it: the group's). None is what the
            group's options say, fp32 unless asked.
        scaling: ``"aps"`` (one shared exponent per tensor), ``"aps:N"`` (per N values),
            ``"delayed"`` (that of the call before; see ``scale_memory``), ``"none"``. None means
            aps wherever a float wire other than fp32 is asked for.
        accumulate: how partial sums are kept: ``"wide"``, ``"rounded"``, ``"kahan"``, ``"exact"``
            or ``"majority"``. None is what the group's options say, ``"wide"`` unless asked.
        algorithm: ``"automatic"``, ``"direct"``, ``"ring"``, ``"tree"``, ``"halving_doubling"`` or
            ``"hierarchical"``: inside each host first, then across hosts. None is the group's, and
            so are None of ``across``, ``inner`` and ``result``.
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
        across: of ``"hierarchical"``, the algorithm between hosts: one of the others.
        inner: of ``"hierarchical"``, the format inside a host; ``"wire"`` is the wire format.
        result: of ``"exact"``, how the sum travels back: ``"full"``, or ``"wire"``: cast once to
            the wire format's bits.
        out: float32 tensors of the same shapes for the results; ``tensors`` are then only read, so
            that FP16 or BF16 gradients give FP32 sums. They must not overlap.
        input_factor, output_factor: powers of two from 2**-126 to 2**126 that each rank's part and
            the sum are multiplied by, the same on all ranks; where a tensor is scaled they cost no
            rounding of their own (loss scaling).
        error_feedback: keeps what casting loses and adds it to the next call's part.
        scale_memory: what scaling ``"delayed"`` remembers from call to call.
        keys: of ``error_feedback`` and ``scale_memory``, a str or an int per tensor. None numbers
            the tensors of the call: 0, 1, ...
        async_op: True starts the call and returns a :class:`Pending`, whose ``wait()`` gives the
            report; the tensors belong to the call until then.

    What goes together (the other pairs do, too)::

        accumulate   wire               scaling            not with
        wide         every              none, aps*,        -
                                        delayed*
        rounded      floats             none, aps, delayed -
        kahan        floats             none, aps, delayed stochastic
        exact        bfpK, intK         left out, or aps   stays below 30 bits: K + log2(ranks)
        majority     sign, one for all  left out           avg, error_feedback

        * of float formats; blocks have scales of their own
        scaling="delayed"         needs scale_memory; not with error_feedback
        result="wire"             accumulate="exact" alone
        error_feedback            sum and avg; not with an inner format other than "wire" under
                                  "hierarchical" (unless "exact")

    Returns:
        A report with ``wire_bytes`` (sent by this rank), ``logical_bytes``, ``algorithm`` (the one
        taken), ``compressed`` (False where ``"automatic"`` declined to), ``non_finite`` (per
        tensor: what a loss scaler asks for), ``saturated`` (per tensor: ``"delayed"`` met a larger
        value than it expected), ``codec_seconds``, ``wait_seconds``.

    Raises:
        ValueError: an argument is not allowed. The peers get a MismatchError.
        TypeError: a tensor of another dtype. The peers get a MismatchError.
        MismatchError: the ranks asked for different things; the group stays usable.
        TimeoutError, PeerFailedError: a peer is gone; the group is dead.
    """
    backend = backend_of(group)

    def prepare() -> tuple[_C.Call, list[str | None]]:
        call = _C.Call()
        parts = _checked_tensors(tensors, boundaries)
        call.tensors = parts
        call.outputs = [] if out is None else _checked_outputs(out, parts, boundaries)
        call.options = call_options(
            backend,
            wire,
            seed,
            op=op,
            scaling=scaling,
            accumulate=accumulate,
            algorithm=algorithm,
            across=across,
            inner=inner,
            result=result,
            rounding=rounding,
        )
        call.input_exponent = _arguments.exponent_of("input_factor", input_factor)
        call.output_exponent = _arguments.exponent_of("output_factor", output_factor)
        wires = wires_for(wire, len(parts))
        remember(call, error_feedback, scale_memory, keys)
        return call, wires

    pending = backend.all_reduce(*or_refuse(backend, prepare))
    return pending if async_op else pending.wait()


@outside_of_graphs
def reduce_scatter(
    output: Tensor,
    input: Tensor,
    wire: str | None = None,
    scaling: str | None = None,
    accumulate: str | None = None,
    algorithm: str | None = None,
    op: str = "sum",
    group: dist.ProcessGroup | None = None,
    *,
    boundaries: Sequence[int] | None = None,
    rounding: str | None = None,
    seed: int | None = None,
    input_factor: float = 1.0,
    output_factor: float = 1.0,
    async_op: bool = False,
) -> _C.Report | _C.Pending:
    """The first half of an all-reduce: this rank gets its share of the sum, not cast again.

    Args:
        output: this rank's share, of the input's dtype; for bfloat16 and float16 also float32.
        input: a float32, bfloat16 or float16 CPU tensor with ranks times the output's values; the
            r-th part of all ranks' is summed for rank r.
        wire, scaling, accumulate, rounding, seed, op, group, input_factor, output_factor, async_op:
            as of :func:`all_reduce`; scaling ``"none"`` or ``"aps"``, accumulate ``"wide"``,
            ``"rounded"`` or ``"kahan"``.
        algorithm: ``"direct"`` or ``"ring"``; all others are ``"direct"`` here.
        boundaries: where each tensor ends in a share that holds many, ascending; the last is the
            share's size. Each tensor has its own exponent, for all ranks' shares of it.

    Returns:
        As :func:`all_reduce`; ``non_finite`` has an entry per tensor.

    Raises:
        As :func:`all_reduce`.
    """
    backend = backend_of(group)

    def prepare() -> tuple[_C.Call, list[int]]:
        check_tensor(input, "the input")
        check_tensor(output, "the output")
        if input.numel() != output.numel() * backend.size():
            raise InvalidArgumentError(
                f"the input has {input.numel()} values; {backend.size()} ranks and an output of "
                f"{output.numel()} take {output.numel() * backend.size()}"
            )
        if not isinstance(wire, str | None):
            raise TypeError(f"wire is {wire!r}, a {type(wire).__name__}; one name is taken")
        call = _C.Call()
        call.tensors, call.outputs = [input], [output]
        named = {"accumulate": accumulate, "rounding": rounding}
        named["algorithm"] = "direct" if algorithm is None else algorithm
        call.options = call_options(backend, wire, seed, op=op, scaling=scaling, **named)
        call.input_exponent = _arguments.exponent_of("input_factor", input_factor)
        call.output_exponent = _arguments.exponent_of("output_factor", output_factor)
        return call, [] if boundaries is None else _checked_ends(boundaries, output.numel())

    pending = backend.reduce_scatter(*or_refuse(backend, prepare))
    return pending if async_op else pending.wait()


def remember(
    call: _C.Call,
    error_feedback: ErrorFeedback | None,
    scale_memory: DelayedScaling | None,
    keys: Sequence[Key] | None,
) -> None:
    """Gives a call's tensors what is kept for them from call to call."""
    _check_type("error_feedback", error_feedback, ErrorFeedback)
    _check_type("scale_memory", scale_memory, DelayedScaling)
    is_delayed = call.options.scaling == "delayed"
    if is_delayed and scale_memory is None:
        raise InvalidArgumentError(
            "scaling 'delayed' needs scale_memory, a cpdcomm.DelayedScaling() kept between calls"
        )
    if scale_memory is not None and not is_delayed:
        raise InvalidArgumentError(
            f"scale_memory is for scaling 'delayed', not '{call.options.scaling}'"
        )
    if keys is not None and error_feedback is None and scale_memory is None:
        raise InvalidArgumentError("keys are for error_feedback and scale_memory; neither is given")
    named = keys_for(keys, len(call.tensors))
    if error_feedback is not None:
        call.residuals = error_feedback.residuals_for(named, call.tensors)
    if scale_memory is not None:
        call.memories = scale_memory.memories_for(named)


def _check_type(name: str, value: object, type_: type) -> None:
    if value is not None and not isinstance(value, type_):
        raise TypeError(f"{name} is a {type(value).__name__}; a cpdcomm.{type_.__name__} is taken")


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
        return _split(tensors, boundaries)
    if isinstance(tensors, Tensor):
        tensors = [tensors]
    tensors = list(tensors)
    for i, tensor in enumerate(tensors):
        check_tensor(tensor, f"tensor {i}")
    return tensors


def _checked_outputs(
    out: Sequence[Tensor] | Tensor, parts: list[Tensor], boundaries: Sequence[int] | None
) -> list[Tensor]:
    outputs = _checked_tensors(out, boundaries)
    if len(outputs) != len(parts):
        raise InvalidArgumentError(f"out has {len(outputs)} tensors for {len(parts)}")
    for i, (output, part) in enumerate(zip(outputs, parts, strict=True)):
        if output.dtype != torch.float32:
            raise TypeError(f"out {i} has dtype {output.dtype}; results are given as float32")
        if output.shape != part.shape:
            raise InvalidArgumentError(
                f"out {i} has shape {tuple(output.shape)}; its tensor has {tuple(part.shape)}"
            )
    return outputs


def _checked_ends(boundaries: Sequence[int], count: int) -> list[int]:
    """Where tensors end in a buffer of `count` values."""
    ends = list(boundaries)
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int):
            raise TypeError(f"boundaries {ends} must be ints, not {type(end).__name__}")
    begins = [0, *ends]
    if begins[-1] != count or any(a > b for a, b in zip(begins, ends, strict=False)):
        raise ValueError(f"boundaries {ends} must ascend from 0 to {count}")
    return ends


def _split(flat: Sequence[Tensor] | Tensor, boundaries: Sequence[int]) -> list[Tensor]:
    """Views of a flat buffer, one for each tensor in it."""
    if not isinstance(flat, Tensor):
        if len(flat) != 1:
            raise ValueError(f"boundaries are for one flat tensor, not {len(flat)}")
        flat = flat[0]
    check_tensor(flat, "the flat buffer")
    if flat.dim() != 1:
        raise ValueError(f"boundaries need a one-dimensional tensor, not {tuple(flat.shape)}")
    ends = _checked_ends(boundaries, flat.numel())
    return [flat[a:b] for a, b in zip([0, *ends], ends, strict=False)]


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


def _names_a_format(wire: str | Sequence[str | None] | None) -> bool:
    """Else the group's format holds, with the group's scaling."""
    return isinstance(wire, str) or any(name is not None for name in wire or ())


def call_options(
    backend: _C.Backend,
    wire: str | Sequence[str | None] | None,
    seed: int | None,
    *,
    op: str,
    scaling: str | None,
    **named: str | None,
) -> _C.AllreduceOptions:
    """The call's options over the group's; `named` have the names of :func:`all_reduce`."""
    for what, name in {"wire": wire, "scaling": scaling, **named}.items():
        if not isinstance(name, str | None) and not (what == "wire" and isinstance(name, Sequence)):
            raise TypeError(f"{what} is {name!r}, a {type(name).__name__}; a name is taken")
    if op not in ("sum", "avg"):
        raise ValueError(f"unknown op '{op}': known are sum, avg")
    if scaling is None and _names_a_format(wire):
        scaling = "automatic"
    if seed is not None:
        _arguments.check_seed(seed)
    one_wire = wire if isinstance(wire, str) else None
    given = {"wire": one_wire, "scaling": scaling, "op": op, **named}
    options = backend.defaults().over(given, seed)
    if seed is not None and options.rounding != "stochastic":
        raise InvalidArgumentError(f"seed {seed} is for rounding 'stochastic' only")
    return options
