"""Low precision for ``DistributedDataParallel``, as a communication hook.

``allreduce_hook`` sums each bucket over a group of backend "cpd", with an exponent per parameter::

    model = DistributedDataParallel(model)
    state = cpdcomm.ddp.HookState(model, wire="e4m3")
    model.register_comm_hook(state, cpdcomm.ddp.allreduce_hook)

``portable_hook`` does the same over any group (gloo, NCCL), for those who cannot change the
backend. Not imported by ``import cpdcomm``.
"""

from ._hook import allreduce_hook
from ._portable import portable_hook
from ._state import HookState, is_one_dimensional

__all__ = ["HookState", "allreduce_hook", "is_one_dimensional", "portable_hook"]
