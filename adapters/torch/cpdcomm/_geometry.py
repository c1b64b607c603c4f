"""Which values of a tensor share a scale."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InvalidArgumentError


@dataclass(frozen=True)
class Geometry:
    """Which values of a tensor share a scale, for the formats with blocks.

    Made by :meth:`flat`, :meth:`tensor`, :meth:`axes` and :meth:`tiles`. Dimensions count from 0,
    or from the last as -1, -2 and so on. Blocks are in row-major order: of the flat tensor; of the
    axes in ascending order; of the dimensions without tiles, then the tile's row, then its column.
    """

    kind: str
    numbers: tuple[int, ...] = ()

    @classmethod
    def flat(cls, block: int) -> Geometry:
        """Blocks of ``block`` consecutive values in row-major order, the last perhaps shorter.

        Raises:
            ValueError: less than 1.
        """
        _check_integers("the block", block)
        if block < 1:
            raise InvalidArgumentError(f"the block of a flat geometry is {block}: at least 1")
        return cls("flat", (block,))

    @classmethod
    def tensor(cls) -> Geometry:
        """One block."""
        return cls("tensor")

    @classmethod
    def axes(cls, *axes: int) -> Geometry:
        """One block per index of the given axes: ``axes(0)`` a sample, ``axes(1)`` a channel."""
        _check_integers("an axis", *axes)
        return cls("axes", axes)

    @classmethod
    def tiles(cls, size: int, dims: tuple[int, int] = (-2, -1)) -> Geometry:
        """Tiles of ``size`` x ``size`` over two dimensions; those at the edges are smaller.

        As in M. Drumond et al., Training DNNs with hybrid block floating point, NeurIPS 2018.

        Args:
            dims: of a tile's rows and of its columns.

        Raises:
            ValueError: less than 1, or not two dimensions.
        """
        _check_integers("the side of a tile", size)
        if size < 1:
            raise InvalidArgumentError(f"the side of a tile is {size}: at least 1")
        if len(dims) != 2:
            raise InvalidArgumentError(f"dims is {dims}: a tile has 2 dimensions")
        _check_integers("a dimension", *dims)
        return cls("tiles", (size, *dims))


def _check_integers(what: str, *numbers: object) -> None:
    for number in numbers:
        if not isinstance(number, int):
            raise TypeError(f"{what} is an int, not {type(number).__name__}")
        if not -(1 << 62) < number < 1 << 62:
            raise InvalidArgumentError(f"{what} is {number}: less than 2**62 is allowed")
