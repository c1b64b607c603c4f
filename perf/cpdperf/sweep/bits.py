"""Bits that a value takes on the wire, scales included; for estimates and bounds only."""

from __future__ import annotations

import re

NAMED = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0}
NAMED |= {"e4m3fn": 8.0, "e3m2fn": 6.0, "e2m3fn": 6.0, "e2m1fn": 4.0}
# Values that share a scale, and the bits of that scale.
BLOCKS = {"mx": (32, 8), "bfp": (64, 8), "int": (512, 32), "sign": (512, 32)}


def bits_of(wire: str) -> float:
    """Bits of a value in a format; 32 for a name that is not known."""
    if wire in NAMED:
        return NAMED[wire]
    if match := re.fullmatch(r"e(\d+)m(\d+)", wire):
        return 1.0 + int(match[1]) + int(match[2])
    match = re.fullmatch(r"(mx|bfp|int|sign)(?:fp|int)?(\d*)(?:e\d+m\d+)?(?::(\d+))?", wire)
    if not match:
        return 32.0
    block, scale = BLOCKS[match[1]]
    return int(match[2] or 1) + scale / int(match[3] or block)
