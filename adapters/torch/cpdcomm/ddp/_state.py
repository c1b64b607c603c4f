"""What a communication hook keeps from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .._delayed_scaling import DelayedScaling
from .._error_feedback import ErrorFeedback
from .._finfo import finfo
from .._options import Options
from ..errors import InvalidArgumentError, UnsupportedError

Exempt = Callable[[str, Tensor], bool]


def is_one_dimensional(name: str, parameter: Tensor) -> bool:
    """For ``HookState(exempt=...)``: norms and biases, which are small and count much."""
    return parameter.dim() <= 1


class HookState:
    """The state of :func:`allreduce_hook` and :func:`portable_hook`: what to do, and what is kept.

    Args:
        model: the module that is trained, or its ``DistributedDataParallel``. Its parameters' names
            are the keys of all that is kept, so a state fits another process's model, and any order
            of the buckets.
        wire: the format on the wire; None is the group's own.
        group: None is that of a ``DistributedDataParallel``, else the default group.
        scaling, accumulate, algorithm, rounding, seed, across, inner, result: as of
            :func:`cpdcomm.all_reduce`. With scaling ``"delayed"`` the exponents are kept here.
        error_feedback: keeps what casting loses of each parameter's gradient and adds it to the
            next one. With ``find_unused_parameters`` what a parameter that no rank has used had
            kept is lost: DDP drops what arrives for it.
        exempt: ``exempt(name, parameter)`` is True for parameters that travel as fp32, such as
            :func:`is_one_dimensional`; inside a host as the group's ``inner`` says. None exempts
            none. Float64 parameters travel as they are, whatever is asked.
        warmup_steps: so many steps at first travel as fp32.

    Attributes:
        steps: steps so far: calls for a step's last bucket.

    Raises:
        ValueError, TypeError: as :class:`cpdcomm.Options`.
    """

    def __init__(
        self,
        model: nn.Module,
        wire: str | None = None,
        *,
        group: dist.ProcessGroup | None = None,
        scaling: str | None = None,
        accumulate: str | None = None,
        algorithm: str | None = None,
        rounding: str | None = None,
        seed: int | None = None,
        across: str | None = None,
        inner: str | None = None,
        result: str | None = None,
        error_feedback: bool = False,
        exempt: Exempt | None = None,
        warmup_steps: int = 0,
    ) -> None:
        if isinstance(warmup_steps, bool) or not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise InvalidArgumentError(
                f"warmup_steps is {warmup_steps!r}; an int, 0 or more, is allowed"
            )
        if not isinstance(wire, str | None):
            raise TypeError(f"wire is {wire!r}, a {type(wire).__name__}; one name is taken")
        if exempt is not None and not callable(exempt):
            raise TypeError(f"exempt is {exempt!r}; a function of name and parameter is taken")
        self.wire = wire
        self.group = _group_of(model) if group is None else group
        self.options = {
            "accumulate": accumulate,
            "algorithm": algorithm,
            "rounding": rounding,
            "across": across,
            "inner": inner,
            "result": result,
        }
        self.scaling = scaling
        self.seed = seed
        self.warmup_steps = warmup_steps
        self.steps = 0
        self._names = _names_of(model)
        self._exempt = exempt
        self._feedback = ErrorFeedback() if error_feedback else None
        self._memory = DelayedScaling() if scaling == "delayed" else None
        self._check()

    def _check(self) -> None:
        """What an all-reduce would refuse in the first backward."""
        # Delayed is for calls, which keep the exponents.
        scaling = None if self.scaling == "delayed" else self.scaling
        Options(wire=self.wire, scaling=scaling, seed=self.seed, **self.options)
        if self._memory is not None and self.wire is not None and has_blocks(self.wire):
            raise InvalidArgumentError(
                f"scaling 'delayed' is for float formats; {self.wire!r} has scales of its own"
            )
        if self._memory is not None and self._feedback is not None:
            raise InvalidArgumentError("error_feedback is not for scaling 'delayed'")
        if self.options["accumulate"] == "majority":
            raise InvalidArgumentError("accumulate 'majority' is a vote; a hook averages")

    @property
    def warming_up(self) -> bool:
        """Whether this step travels as fp32."""
        return self.steps < self.warmup_steps

    @property
    def error_feedback(self) -> ErrorFeedback | None:
        """The residuals, by parameter; None where they are not kept."""
        return self._feedback

    @property
    def scale_memory(self) -> DelayedScaling | None:
        """The exponents of scaling ``"delayed"``, by parameter; None with another scaling."""
        return self._memory

    def names(self, parameters: list[Tensor]) -> list[str]:
        """The parameters' names.

        Raises:
            ValueError: one is no parameter of the model.
        """
        try:
            return [self._names[parameter] for parameter in parameters]
        except KeyError:
            raise InvalidArgumentError(
                "a bucket has a parameter that the model of its HookState does not have: make the "
                "state with the model that DistributedDataParallel wraps"
            ) from None

    def wires(self, names: list[str], parameters: list[Tensor]) -> list[str | None]:
        """Each parameter's format; None is the group's."""
        return [
            "fp32" if self._exempt is not None and self._exempt(name, parameter) else self.wire
            for name, parameter in zip(names, parameters, strict=True)
        ]

    def count_step(self, bucket: dist.GradBucket) -> None:
        """Called by a hook for each bucket."""
        self.steps += bucket.is_last()

    def state_dict(self) -> dict[str, Any]:
        """What is kept, for ``torch.save``. Each rank has residuals of its own: save them all.

        The random words of rounding "stochastic" go by the group's count of calls, which is not in
        it: a run that goes on from here needs another seed, or draws the same words again.
        """
        return {
            "steps": self.steps,
            "error_feedback": None if self._feedback is None else self._feedback.state_dict(),
            "scale_memory": None if self._memory is None else self._memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place of what is kept what :meth:`state_dict` gave.

        Raises:
            ValueError: it is no such state, keeps other things (residuals, delayed exponents), or
                is of other parameters; nothing has changed. Formats and warm-up are not in it.
        """
        if not isinstance(state, dict) or set(state) != set(self.state_dict()):
            raise InvalidArgumentError(f"no state of HookState: {state!r:.80}")
        for name, own in (("error_feedback", self._feedback), ("scale_memory", self._memory)):
            if (own is None) != (state[name] is None):
                raise InvalidArgumentError(
                    f"{name} is {'not ' if own is None else ''}kept here, and "
                    f"{'not ' if state[name] is None else ''}in the state"
                )
        if not isinstance(state["steps"], int) or state["steps"] < 0:
            raise InvalidArgumentError(
                f"steps is {state['steps']!r}; an int, 0 or more, is allowed"
            )
        self._check_keys((state["error_feedback"] or {}).get("residuals", {}))
        self._check_keys((state["scale_memory"] or {}).get("exponents", {}))
        if self._feedback is not None:
            self._feedback.load_state_dict(state["error_feedback"])
        if self._memory is not None:
            self._memory.load_state_dict(state["scale_memory"])
        self.steps = state["steps"]

    def _check_keys(self, kept: Iterable[Any]) -> None:
        strangers = [key for key in kept if key not in self._names.values()]
        if strangers:
            raise InvalidArgumentError(
                f"the state is of a parameter {strangers[0]!r}, which this model does not have"
            )


def has_blocks(wire: str) -> bool:
    """Whether a format's values come in blocks, each with a scale of its own."""
    info = finfo(wire)
    return info.bits_with_scales != info.bits


def real_buffer(bucket: dist.GradBucket) -> Tensor:
    """A bucket's flat buffer; of complex values real and imaginary parts take turns in it.

    Raises:
        UnsupportedError: the gradients are sparse.
    """
    buffer = bucket.buffer()
    if buffer.is_sparse:
        raise UnsupportedError("gradients are sparse: the hooks of cpdcomm.ddp sum dense ones")
    return torch.view_as_real(buffer).view(-1) if buffer.is_complex() else buffer


def real_gradients(bucket: dist.GradBucket) -> list[Tensor]:
    """A bucket's gradients, one for each parameter, as flat views that cover its real buffer.

    That of a complex parameter has twice its values. torch's own ``bucket.gradients()`` cover half
    of such a buffer, which torch has in real numbers already.

    Raises:
        UnsupportedError: they are sparse, or not all that the buffer holds.
    """
    buffer = real_buffer(bucket)
    counts = [p.numel() * (2 if p.is_complex() else 1) for p in bucket.parameters()]
    if sum(counts) != buffer.numel():
        raise UnsupportedError(
            f"the gradients of a bucket are {sum(counts)} of the {buffer.numel()} values in its "
            "buffer: the rest would stay different on every rank"
        )
    return list(buffer.split(counts))


def _group_of(model: nn.Module) -> dist.ProcessGroup | None:
    return model.process_group if isinstance(model, nn.parallel.DistributedDataParallel) else None


def _names_of(model: nn.Module) -> dict[Tensor, str]:
    """Names as the bare model has them; DistributedDataParallel puts "module." before each."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; a torch.nn.Module is taken")
    return {parameter: name for name, parameter in model.named_parameters()}
