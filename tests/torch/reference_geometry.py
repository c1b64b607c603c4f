"""The blocks of a tensor of any shape: the block of every value, from numerics.md."""

import numpy as np


def flat(shape, block):
    """`block` consecutive values in row-major order."""
    return (np.arange(np.prod(shape, dtype=int)) // block).reshape(shape)


def tensor(shape):
    """One block."""
    return np.zeros(shape, dtype=int)


def _joined(parts, shape):
    """Row-major numbers of what (numbers, count) pairs count, over a shape."""
    index = np.zeros(shape, dtype=int)
    for numbers, count in parts:
        index = index * count + numbers
    return index


def axes(shape, *axes):
    """One block per index of the axes, which count in ascending order."""
    place = np.indices(shape)
    return _joined([(place[a], shape[a]) for a in sorted(a % len(shape) for a in axes)], shape)


def tiles(shape, size, dims=(-2, -1)):
    """Squares over two dimensions; the others count first, then the tiles' rows and columns."""
    place = np.indices(shape)
    row, column = (d % len(shape) for d in dims)
    others = [(place[d], shape[d]) for d in range(len(shape)) if d not in (row, column)]
    inside = [(place[d] // size, -(-shape[d] // size)) for d in (row, column)]
    return _joined(others + inside, shape)
