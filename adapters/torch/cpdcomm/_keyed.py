"""What is kept for a tensor from call to call is found by a key."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import InvalidArgumentError

Key = str | int


def keys_for(keys: Sequence[Key] | None, count: int) -> list[Key]:
    """One key per tensor: the caller's, or the place in the call.

    Raises:
        ValueError: another number of keys than tensors, or one twice.
        TypeError: a key is neither a str nor an int.
    """
    if keys is None:
        return list(range(count))
    if isinstance(keys, str):
        raise TypeError(f"keys is {keys!r}, a str; a list with one key per tensor is taken")
    keys = list(keys)
    for key in keys:
        check_key(key)
    if len(keys) != count:
        raise InvalidArgumentError(f"{len(keys)} keys for {count} tensors")
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise InvalidArgumentError(f"key {key!r} is there twice; each tensor needs its own")
    return keys


def check_key(key: Key) -> None:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise TypeError(f"key {key!r} is a {type(key).__name__}; a str or an int is taken")
