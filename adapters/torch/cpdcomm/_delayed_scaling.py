"""Delayed scaling: the exponent of the call before, so that no message goes ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _C, _keyed
from ._keyed import Key
from .errors import InvalidArgumentError


class DelayedScaling:
    """What ``scaling="delayed"`` remembers: ``cpdcomm.all_reduce(..., scale_memory=...)``.

    With ``"aps"`` the ranks agree on each tensor's scale exponent before they sum it. With
    ``"delayed"`` they take that of the call before, which travels beside the values: one message
    less. The first call of a key scales as ``"aps"`` does. A tensor that has grown by more than
    what is left at the format's top saturates: ``report.saturated`` says so, and the next call
    knows. ::

        memory = cpdcomm.DelayedScaling()
        cpdcomm.all_reduce(gradients, wire="e4m3", scaling="delayed", scale_memory=memory)

    There is one exponent per key, the same on every rank: ranks that come with different ones get a
    MismatchError. Calls that give no keys number their tensors 0, 1, ...
    """

    def __init__(self) -> None:
        self._memories: dict[Key, _C.ScaleMemory] = {}

    def exponent(self, key: Key) -> int | None:
        """ceil(log2(largest magnitude * ranks)) of the key's last call.

        None: no call has been, or the last one that was finite was zero.
        """
        memory = self._memories.get(key)
        return memory.exponent if memory is not None and memory.known else None

    def keys(self) -> list[Key]:
        """The keys that have been used, in the order of their first use."""
        return list(self._memories)

    def reset(self, key: Key | None = None) -> None:
        """Forgets one key's exponent (nothing happens where it has none), or all of them."""
        if key is None:
            self._memories.clear()
        else:
            self._memories.pop(key, None)

    def state_dict(self) -> dict[str, Any]:
        """The exponents, for ``torch.save``; the same on every rank."""
        return {"exponents": {key: self.exponent(key) for key in self._memories}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place of all exponents what :meth:`state_dict` gave.

        Raises:
            ValueError: it is no such state, or an exponent is out of range; nothing has changed.
            TypeError: a key is neither a str nor an int.
        """
        if not isinstance(state, dict) or set(state) != {"exponents"}:
            raise InvalidArgumentError(f"no state of DelayedScaling: {state!r:.80}")
        self._memories = {
            key: _memory_of(key, exponent) for key, exponent in state["exponents"].items()
        }

    def memories_for(self, keys: Sequence[Key]) -> list[_C.ScaleMemory]:
        """What the library reads and writes in a call; all_reduce asks for it."""
        return [self._memories.setdefault(key, _C.ScaleMemory()) for key in keys]


def _memory_of(key: Key, exponent: int | None) -> _C.ScaleMemory:
    _keyed.check_key(key)
    memory = _C.ScaleMemory()
    if exponent is None:
        return memory
    # From the smallest value times the smallest factor, to the largest of 2^31 ranks times 2^126.
    if isinstance(exponent, bool) or not isinstance(exponent, int) or not -275 <= exponent <= 285:
        raise InvalidArgumentError(
            f"the exponent of key {key!r} is {exponent!r}; an int from -275 to 285 is allowed"
        )
    memory.known, memory.exponent = True, exponent
    return memory
