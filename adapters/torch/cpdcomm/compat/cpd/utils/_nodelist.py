"""Slurm's node lists (the section HOSTLIST EXPRESSIONS of its man pages)."""

from __future__ import annotations

import itertools
import re

from cpdcomm.errors import InvalidArgumentError

# Commas inside brackets separate numbers, those outside nodes.
_NODE = r"(?:[^,\[\]\s]|\[[^\[\]\s]*\])+"
_LIST = re.compile(rf"{_NODE}(?:,{_NODE})*")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(nodelist: str) -> list[str]:
    """The names in a node list, in its order.

    Args:
        nodelist: names, and brackets in them for numbers and ranges: ``"login,node[001-003,7]-ib"``
            is login, node001-ib, node002-ib, node003-ib, node7-ib. With several brackets in a name
            the last one counts fastest.

    Raises:
        ValueError: it is no such list.
    """
    text = nodelist.strip()
    if not _LIST.fullmatch(text):
        raise InvalidArgumentError(
            f"{nodelist!r} is no list of nodes such as 'node[001-004,7],gpu-a[1-2]b'"
        )
    return [name for node in re.findall(_NODE, text) for name in _names(node)]


def _names(node: str) -> list[str]:
    pieces = re.split(r"\[(.*?)\]", node)  # text, what is in brackets, text, ...
    choices = [_numbers(piece, node) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _numbers(ranges: str, node: str) -> list[str]:
    """``"08-10,3"`` is 08, 09, 10, 3: as wide as a range's first number."""
    numbers = []
    for piece in ranges.split(","):
        match = _RANGE.fullmatch(piece)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise InvalidArgumentError(
                f"'{piece}' in '{node}' is no number and no ascending range such as 001-004"
            )
        first, last = match[1], match[2] or match[1]
        numbers += [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    return numbers
