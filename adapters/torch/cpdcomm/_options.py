"""What a process group asks for by default."""

from __future__ import annotations

from dataclasses import dataclass

from . import _C
from .errors import InvalidArgumentError


@dataclass(frozen=True)
class Options:
    """Options of a process group, for ``init_process_group("cpd", pg_options=Options(...))``.

    What is left None is what the ``CPDCOMM_*`` variables say, or the default.

    Attributes:
        wire: format on the wire of SUM and AVG of float tensors; ``"fp32"`` loses nothing.
        scaling: ``"aps"`` (one shared exponent per tensor), ``"aps:N"`` (per N values), ``"none"``
            or ``"automatic"``: aps wherever the wire is a float format other than fp32.
        accumulate: ``"wide"``, ``"rounded"`` or ``"kahan"``.
        algorithm: ``"automatic"``, ``"direct"`` or ``"ring"``.
        timeout: seconds for one operation; None takes the process group's timeout.

    Raises:
        ValueError: a value is not allowed.
    """

    wire: str | None = None
    scaling: str | None = None
    accumulate: str | None = None
    algorithm: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        self.over_environment()

    def over_environment(self) -> _C.AllreduceOptions:
        """These options over those of the environment."""
        if self.timeout is not None and not _is_time(self.timeout):
            raise InvalidArgumentError(
                f"timeout is {self.timeout!r}; seconds from 0.001 to 1e9 are allowed"
            )
        made = _C.environment_options().over(
            wire=self.wire,
            scaling=self.scaling,
            accumulate=self.accumulate,
            algorithm=self.algorithm,
        )
        if self.timeout is not None:
            made.timeout = self.timeout
        return made


def _is_time(seconds: object) -> bool:
    """Neither nan nor inf passes."""
    return isinstance(seconds, int | float) and 1e-3 <= seconds <= 1e9
