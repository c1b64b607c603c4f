"""What torch.compile runs as it is, between its graphs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_T = TypeVar("_T")


def outside_of_graphs(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function that calls groups: torch.compile ends its graph there and begins another after it.

    torch's own ``_disable_dynamo`` does that, but it imports the compiler, which takes seconds:
    here it is called only where somebody else has imported that.
    """
    outside = torch._disable_dynamo(function)

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return (outside if "torch._dynamo" in sys.modules else function)(*args, **kwargs)

    return call
