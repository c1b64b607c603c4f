"""Error feedback: what casting a gradient has lost is added to the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _keyed
from ._keyed import Key
from .errors import InvalidArgumentError


class ErrorFeedback:
    """The residuals of error feedback, for ``cpdcomm.all_reduce(..., error_feedback=...)``.

    What a rank encodes is v = g + r, its gradient and the residual of the call before; then
    r = v - decode(encode(v)), in float32 (F. Seide, H. Fu, J. Droppo, G. Li, D. Yu, 1-bit
    stochastic gradient descent, Interspeech 2014). So what a step loses arrives in a later one. Of
    a tensor that is not finite on some rank r stays as it is: that step is skipped. ::

        feedback = cpdcomm.ErrorFeedback()
        names, parameters = zip(*model.named_parameters())
        for batch in batches:
            loss(model(batch)).backward()
            gradients = [p.grad for p in parameters]
            cpdcomm.all_reduce(gradients, wire="int2", error_feedback=feedback, keys=names)

    There is one residual per key, a float32 tensor with as many values as the gradient and where
    that lies, allocated (zeros) when a key is used for the first time. Each rank has its own: a
    checkpoint holds those of all ranks. Calls that give no keys number their tensors 0, 1, ...; two
    calls in one step need keys, or an object each.

    A call that ends with another error than a ValueError or a TypeError leaves the residuals of its
    keys undefined, as it does the tensors: go back to a checkpoint, or :meth:`reset` them.
    """

    def __init__(self) -> None:
        self._residuals: dict[Key, Tensor] = {}

    def __len__(self) -> int:
        """How many keys have a residual."""
        return len(self._residuals)

    def __contains__(self, key: object) -> bool:
        return key in self._residuals

    def __getitem__(self, key: Key) -> Tensor:
        """A key's residual itself: float32, one-dimensional.

        Raises:
            KeyError: it has none yet.
        """
        return self._residuals[key]

    def keys(self) -> list[Key]:
        """The keys that have a residual, in the order of their first use."""
        return list(self._residuals)

    def scale_(self, factor: float) -> None:
        """Multiplies all residuals: with the new loss scale over the old one, when it changes.

        Raises:
            ValueError: the factor is not finite, or not above 0.
        """
        if not (isinstance(factor, int | float) and math.isfinite(factor) and factor > 0):
            raise InvalidArgumentError(f"factor is {factor!r}; a finite number above 0 is allowed")
        for residual in self._residuals.values():
            residual.mul_(factor)

    def mask_(self, key: Key, mask: Tensor) -> None:
        """Zeroes a residual where a bool mask is False: where parameters have been pruned.

        Args:
            key: nothing happens where it has no residual yet.
            mask: of the gradient's shape, or as many values; True is kept.

        Raises:
            ValueError: the mask has another number of values.
            TypeError: it is no bool tensor.
        """
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            what = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise TypeError(f"the mask of key {key!r} is {what}; a bool tensor is taken")
        if key not in self._residuals:
            return
        residual = self._residuals[key]
        if mask.numel() != residual.numel():
            raise InvalidArgumentError(
                f"the mask of key {key!r} has {mask.numel()} values, its residual "
                f"{residual.numel()}"
            )
        residual.masked_fill_(~mask.detach().reshape(-1).to(residual.device), 0.0)

    def reset(self, key: Key | None = None) -> None:
        """Forgets one key's residual (nothing happens where it has none), or all of them."""
        if key is None:
            self._residuals.clear()
        else:
            self._residuals.pop(key, None)

    def state_dict(self) -> dict[str, Any]:
        """A copy of this rank's residuals, for ``torch.save``."""
        return {"residuals": {key: r.clone() for key, r in self._residuals.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place of all residuals what :meth:`state_dict` gave.

        Raises:
            ValueError: it is no such state; nothing has changed.
            TypeError: a key or a residual is of another type.
        """
        if not isinstance(state, dict) or set(state) != {"residuals"}:
            raise InvalidArgumentError(f"no state of ErrorFeedback: {_summary(state)}")
        for key, residual in state["residuals"].items():
            _keyed.check_key(key)
            if not isinstance(residual, Tensor) or residual.dtype != torch.float32:
                what = getattr(residual, "dtype", type(residual).__name__)
                raise TypeError(f"the residual of key {key!r} is {what}; a float32 tensor is taken")
        self._residuals = {
            key: residual.detach().cpu().reshape(-1).clone()
            for key, residual in state["residuals"].items()
        }

    def residuals_for(self, keys: Sequence[Key], tensors: Sequence[Tensor]) -> list[Tensor]:
        """The residuals of a call's tensors; all_reduce asks for them.

        Raises:
            ValueError: a key has been used for a tensor of another size; nothing has changed.
        """
        for key, tensor in zip(keys, tensors, strict=True):
            known = self._residuals.get(key)
            if known is not None and known.numel() != tensor.numel():
                raise InvalidArgumentError(
                    f"key {key!r} comes with {tensor.numel()} values; its residual has "
                    f"{known.numel()}: give each tensor its own key, or reset({key!r})"
                )
        for key, tensor in zip(keys, tensors, strict=True):
            if key not in self._residuals:
                self._residuals[key] = torch.zeros(
                    tensor.numel(), dtype=torch.float32, device=tensor.device
                )
        return [self._residuals[key] for key in keys]


def _summary(state: object) -> str:
    if isinstance(state, dict):
        return f"a dict with the keys {sorted(map(str, state))}, not ['residuals']"
    return f"a {type(state).__name__}, not a dict"
