"""What a process group asks for by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        min_bytes: in calls of ``torch.distributed`` tensors of less than so many bytes travel
            exactly; 4096 unless asked, so that counts and losses do, and 0 lets all be cast. Of
            reduce-scatter and all-gather one rank's share counts. :func:`all_reduce`,
            :func:`reduce_scatter` and the hooks ask by name, for every size.
        collectives: which calls of ``torch.distributed`` travel in the wire format: some of
            ``"all_reduce"`` (alone unless asked), ``"reduce_scatter"`` and ``"all_gather"``. All
            others are exact, and so is all that is not SUM or AVG of floats: :func:`stats` tells.

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
    min_bytes: int | None = None
    collectives: Sequence[str] | str | None = None

    def __post_init__(self) -> None:
        self.over_environment()

    def over_environment(self) -> _C.Policy:
        """These options over those of the environment."""
        if self.timeout is not None and not _is_time(self.timeout):
            raise InvalidArgumentError(
                f"timeout is {self.timeout!r}; seconds from 0.001 to 1e9 are allowed"
            )
        if self.seed is not None:
            _arguments.check_seed(self.seed)
        made = _C.Policy().over(*self.given())
        if made.options.scaling == "delayed":
            raise InvalidArgumentError(
                "scaling 'delayed' is not for a group or CPDCOMM_SCALING, which keep no exponents: "
                "ask for it in cpdcomm.all_reduce(..., scaling='delayed', scale_memory=...)"
            )
        made.options.check()
        _check_halves(made)
        if self.timeout is not None:
            made.timeout = self.timeout
        return made

    def given(self) -> tuple[dict[str, str | None], int | None, int | None, str | None]:
        """What is set, as the extension takes it."""
        named = {name: getattr(self, name) for name in _NAMED}
        return named, self.seed, _checked_bytes(self.min_bytes), _joined(self.collectives)


@contextmanager
def options(
    *,
    wire: str | None = None,
    scaling: str | None = None,
    accumulate: str | None = None,
    algorithm: str | None = None,
    rounding: str | None = None,
    seed: int | None = None,
    across: str | None = None,
    inner: str | None = None,
    result: str | None = None,
    min_bytes: int | None = None,
    collectives: Sequence[str] | str | None = None,
) -> Iterator[None]:
    """Options that hold inside a ``with`` block, over those of the groups and the environment.

    They hold for every group and every thread of this process, because gradients are summed by
    threads of torch's own. What a call of :func:`all_reduce` names wins over them. All ranks enter
    the block, between the same calls::

        with cpdcomm.options(wire="e4m3", min_bytes=16384):
            loss.backward()  # DDP's buckets travel in 8 bits

    Args:
        wire, scaling, accumulate, algorithm, rounding, seed, across, inner, result, min_bytes,
            collectives: as of :class:`Options`; None changes nothing.

    Raises:
        ValueError: a value is not allowed, or together with the environment's it is not.
        TypeError: a value is of another type.
    """
    asked = Options(
        wire=wire,
        scaling=scaling,
        accumulate=accumulate,
        algorithm=algorithm,
        rounding=rounding,
        seed=seed,
        across=across,
        inner=inner,
        result=result,
        min_bytes=min_bytes,
        collectives=collectives,
    )
    context = _C.add_context(*asked.given())
    try:
        yield
    finally:
        _C.take_back_context(context)


def _checked_bytes(count: int | None) -> int | None:
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"min_bytes is {count!r}, a {type(count).__name__}; an int is taken")
    if not 0 <= count < 1 << 63:
        raise InvalidArgumentError(f"min_bytes is {count}; 0 to 2**63 - 1 is allowed")
    return count


def _joined(names: Sequence[str] | str | None) -> str | None:
    """The collectives as CPDCOMM_COLLECTIVES has them; the extension knows the names."""
    if names is None or isinstance(names, str):
        return names
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a collective is a str, not {name!r}")
    return ",".join(names)


def _check_halves(policy: _C.Policy) -> None:
    """Reduce-scatter and all-gather know less than all-reduce does."""
    if not (policy.reduce_scatter or policy.all_gather):
        return
    options = policy.options
    if options.accumulate in ("exact", "majority"):
        raise InvalidArgumentError(
            f"accumulate '{options.accumulate}' is for all_reduce alone; reduce_scatter and "
            "all_gather take 'wide', 'rounded' and 'kahan'"
        )
    if options.scaling.startswith("aps:"):
        raise InvalidArgumentError(
            f"scaling '{options.scaling}' is for all_reduce alone; reduce_scatter and all_gather "
            "take 'automatic', 'aps' and 'none'"
        )


def _is_time(seconds: object) -> bool:
    """Neither nan nor inf passes."""
    return isinstance(seconds, int | float) and 1e-3 <= seconds <= 1e9
