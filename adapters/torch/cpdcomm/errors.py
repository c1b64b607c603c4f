"""The exceptions of cpdcomm, by what is still usable afterwards."""

from __future__ import annotations

import builtins


class Error(RuntimeError):
    """Base of all errors that the library raises on purpose."""


class InvalidArgumentError(Error, ValueError):
    """A value is not allowed. Nothing happened; the group is usable."""


class UnsupportedError(Error, NotImplementedError):
    """Allowed, but not offered here. Nothing happened; the group is usable."""


class MismatchError(Error):
    """The ranks asked for different things, or a peer refused the call.

    The tensors of the call are undefined; the group is usable.
    """


class TimeoutError(Error, builtins.TimeoutError):
    """A peer did not answer in time. The group is dead, the process is fine."""


class PeerFailedError(Error, ConnectionError):
    """A peer is gone or gave up. The group is dead, the process is fine."""
