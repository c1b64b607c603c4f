"""Sizes in bytes as people write them: 64M is 64 MiB."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
BYTES_PER_VALUE = 4  # logical bytes are those of FP32


def parse_size(text: str) -> int:
    """Bytes of "1024", "1K", "64M" or "1G"."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.strip().upper())
    if not match:
        raise ValueError(
            f"size '{text}': a whole number of bytes, or one with K, M or G (1024 each)"
        )
    return int(match[1]) * UNITS[match[2]]


def format_size(size: int) -> str:
    """The shortest text that parse_size reads as this size."""
    for unit in ("G", "M", "K"):
        if size and size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]}{unit}"
    return str(size)


@dataclass(frozen=True)
class SizeRange:
    """Sizes from the first, each `factor` times the one before, none above the last."""

    first: int
    last: int
    factor: int = 4

    def __post_init__(self) -> None:
        if self.first < BYTES_PER_VALUE or self.first % BYTES_PER_VALUE:
            raise ValueError(f"first size {self.first}: a multiple of 4 bytes, at least 4")
        if self.last < self.first:
            raise ValueError(
                f"last size {format_size(self.last)}: at least the first, {format_size(self.first)}"
            )
        if self.factor < 2:
            raise ValueError(f"factor {self.factor} between sizes: at least 2")

    @classmethod
    def parse(cls, text: str) -> SizeRange:
        """A range from "1K:64M", "1K:64M:16" or, of one size alone, "1M"."""
        parts = text.split(":")
        if len(parts) > 3 or (len(parts) == 3 and not parts[2].isdigit()):
            raise ValueError(f"sizes '{text}': SIZE, FIRST:LAST or FIRST:LAST:FACTOR")
        sizes = [parse_size(part) for part in parts[:2]]
        return cls(sizes[0], sizes[-1], *map(int, parts[2:]))

    def __str__(self) -> str:
        if self.first == self.last:
            return format_size(self.first)
        return f"{format_size(self.first)}:{format_size(self.last)}:{self.factor}"

    def sizes(self) -> list[int]:
        found = [self.first]
        while found[-1] * self.factor <= self.last:
            found.append(found[-1] * self.factor)
        return found

    def up_to(self, largest: int) -> SizeRange:
        """The same range without the sizes above the largest."""
        return SizeRange(self.first, max(self.first, min(self.last, largest)), self.factor)
