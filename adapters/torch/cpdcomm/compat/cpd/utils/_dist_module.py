"""The same parameters on every rank."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.nn import Module


def broadcast_params(model: Module) -> None:
    """Gives every rank the parameters and buffers of rank 0, in place and exactly.

    Extra state that is no tensor stays each rank's own.

    Raises:
        ValueError: there is no process group.
        MismatchError: the ranks have other shapes.
        TimeoutError, PeerFailedError: a peer is gone; the group is dead.
    """
    for value in model.state_dict().values():
        if isinstance(value, Tensor):
            dist.broadcast(value, 0)


class DistModule(Module):
    """A module whose parameters and buffers are those of rank 0; it passes calls on.

    It sums no gradients: :func:`sum_gradients` does, after the backward pass.

    Attributes:
        module: the module that was given; the names in ``state_dict`` begin with ``module.``.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module
        broadcast_params(module)

    def forward(self, *inputs: object, **kwargs: object) -> object:
        return self.module(*inputs, **kwargs)
