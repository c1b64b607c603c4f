"""What a process group asks for by default."""

from __future__ import annotations

from dataclasses import dataclass

from . import _C, _arguments
from .errors import InvalidArgumentError

_NAMED = (
    "wire",
    "scaling",
    "accumulate",
    "algorithm",
    "rounding",
    "across",
    "inner",
    "result",
)


@dataclass(frozen=True)
class Options:
    """Options of a process group, for ``init_process_group("cpd", pg_options=Options(...))``.

    What is left None is what the ``CPDCOMM_*`` variables say, or the default.

    Attributes:
        wire: format on the wire of SUM and AVG of float tensors; ``"fp32"`` loses nothing.
        scaling: ``"aps"`` (one shared exponent per tensor), ``"aps:N"`` (per N values), ``"none"``
            or ``"automatic"``: aps wherever the wire is a float format other than fp32.
        accumulate: ``"wide"``, ``"rounded"``, ``"kahan"``, ``"exact"`` (bfpK and intK) or
            ``"majority"`` (sign); :func:`all_reduce` has a table of what goes together.
        algorithm: ``"automatic"``, ``"direct"``, ``"ring"``, ``"tree"``, ``"halving_doubling"`` or
            ``"hierarchical"``: inside each host first, then across hosts.
        timeout: seconds for one operation; None takes the process group's timeout.
        rounding: ``"nearest_even"`` or ``"stochastic"``; the latter not with ``"kahan"``.
        seed: of stochastic rounding, 0 <= seed < 2**32, the same on all ranks. None: at the group's
            first stochastic all-reduce without a seed, its rank 0 draws one for all of them from
            torch's default CPU generator, which ``torch.manual_seed`` sets. The seed stays; each
            stochastic all-reduce of the group that succeeds is a step, with random words of its
            own.
        across: of ``"hierarchical"``, the algorithm between hosts.
        inner: of ``"hierarchical"``, the format inside a host; ``"wire"`` is the wire format.
        result: of ``"exact"``, ``"full"`` or ``"wire"`` (the sum travels back cast once).

    Raises:
        ValueError: a value is not allowed, or those in force together are not.
        TypeError: a value is of another type.
    """

    wire: str | None = None
    scaling: str | None = None
    accumulate: str | None = None
    algorithm: str | None = None
    timeout: float | None = None
    rounding: str | None = None
    seed: int | None = None
    across: str | None = None
    inner: str | None = None
    result: str | None = None

    def __post_init__(self) -> None:
        self.over_environment()

    def over_environment(self) -> _C.AllreduceOptions:
        """These options over those of the environment."""
        if self.timeout is not None and not _is_time(self.timeout):
            raise InvalidArgumentError(
                f"timeout is {self.timeout!r}; seconds from 0.001 to 1e9 are allowed"
            )
        if self.seed is not None:
            _arguments.check_seed(self.seed)
        made = _C.environment_options().over(
            {name: getattr(self, name) for name in _NAMED}, self.seed
        )
        if made.scaling == "delayed":
            raise InvalidArgumentError(
                "scaling 'delayed' is not for a group or CPDCOMM_SCALING, which keep no exponents: "
                "ask for it in cpdcomm.all_reduce(..., scaling='delayed', scale_memory=...)"
            )
        made.check()
        if self.timeout is not None:
            made.timeout = self.timeout
        return made


def _is_time(seconds: object) -> bool:
    """Neither nan nor inf passes."""
    return isinstance(seconds, int | float) and 1e-3 <= seconds <= 1e9
