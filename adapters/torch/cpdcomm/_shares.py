"""Where parameters lie in the flat gradients that FSDP2 sums."""

from __future__ import annotations

import inspect
from itertools import accumulate as running_sum
from typing import Any

from torch.distributed.fsdp import FSDPModule

# Where nothing is known of a buffer, so many values share an exponent.
_PIECE = 512


class Shares:
    """The parameters in a rank's share of gradients, one after the other.

    Attributes:
        ends: where each ends, ascending; the last is the share's size, in values of the gradients'
            own type.
        names: the parameters' names in the whole model; None where they are not known.
    """

    def __init__(self, ends: list[int], names: list[str] | None = None) -> None:
        self.ends = ends
        self.names = names

    @classmethod
    def of(cls, count: int, module: FSDPModule | None = None) -> Shares:
        """Of a share that FSDP is about to sum; pieces of one size where it is no such share.

        Args:
            count: how many values it has.
            module: whose gradients they are; None where that is not known.
        """
        return cls.known(count, module) or cls([*range(_PIECE, count, _PIECE), count])

    @classmethod
    def known(cls, count: int, module: FSDPModule | None) -> Shares | None:
        """None where no set of parameters has as many values."""
        for parameters in (_being_summed(), _trained(module)):
            ends = list(running_sum(_size(parameter) for parameter in parameters))
            if ends and ends[-1] == count:
                names = [parameter._param_fqn for parameter in parameters]
                return cls(ends, None if None in names else names)
        return None


def _being_summed() -> list[Any]:
    """The parameters that have gradients this time; none outside of FSDP's sum.

    FSDP leaves out those that are frozen or that no rank has used, and tells nobody else.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "foreach_reduce":
        frame = frame.f_back
    return [] if frame is None else frame.f_locals.get("fsdp_params", [])


def _trained(module: FSDPModule | None) -> list[Any]:
    """The parameters of a module that are not frozen."""
    if module is None:
        return []
    state = module._get_fsdp_state()
    # torch 2.11 has one group a module.
    groups = getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]
    parameters = [parameter for group in groups if group for parameter in group.fsdp_params]
    return [parameter for parameter in parameters if parameter.sharded_param.requires_grad]


def _size(parameter: Any) -> int:
    """Values in a rank's share: rows are padded to a multiple of the ranks."""
    return parameter.padded_sharded_param_size.numel()
