"""What a whole call must give: reference.py over many tensors, ranks and micro-batches."""

from dataclasses import dataclass

import numpy as np
import reference as ref


@dataclass(frozen=True)
class Call:
    """The arguments of cpdcomm.all_reduce that decide the bits."""

    wire: str | tuple = "e4m3"
    scaling: str = "aps"
    accumulate: str = "wide"
    algorithm: str = "direct"
    op: str = "sum"

    def arguments(self):
        wire = self.wire if isinstance(self.wire, str) else list(self.wire)
        return {
            "wire": wire,
            "scaling": self.scaling,
            "accumulate": self.accumulate,
            "algorithm": self.algorithm,
            "op": self.op,
        }


LARGEST_BODY = 60 * 1024 - 48  # bytes of a message; larger groups of values do not stay together


def _size(count, bits, pairs):
    return (count * bits + 7) // 8 * (2 if pairs else 1)


def ring_cuts(counts, bits, ranks, pairs, group=8):
    """Per tensor, where a ring's chunks end in it: equal shares of the wire's bytes.

    A cut moves down to a multiple of 8 values of the tensor that it falls into, and of `group`
    where so many share a scale exponent (FP32 has none).
    """
    sizes = [_size(count, b, pairs) for count, b in zip(counts, bits, strict=True)]
    begins = np.cumsum([0, *sizes])
    largest = max((_size(group, b, pairs) for b in bits if b != 32), default=0)
    together = group if largest <= LARGEST_BODY else 8
    cuts = []
    for begin, size, count, b in zip(begins, sizes, counts, bits, strict=False):
        unit = 8 if b == 32 else together
        shares = [int(begins[-1]) * c // ranks - int(begin) for c in range(ranks + 1)]
        inside = [min(max(share, 0) // _size(unit, b, pairs) * unit, count) for share in shares]
        cuts.append([i if share < size else count for i, share in zip(inside, shares, strict=True)])
    return cuts


def _pieces(count, scaling):
    """What shares an exponent, as slices."""
    if not scaling.startswith("aps:"):
        return [slice(0, count)]
    length = int(scaling.removeprefix("aps:"))
    return [slice(i, min(i + length, count)) for i in range(0, count, length)]


def all_reduce(parts, call):
    """FP32 results, one array a tensor, of parts[rank][node][tensor]."""
    shapes = [g.shape for g in parts[0][0]]
    counts = [g.size for g in parts[0][0]]
    wires = [call.wire] * len(counts) if isinstance(call.wire, str) else call.wire
    formats = [ref.exp_man(wire) for wire in wires]
    bits = [ref.code_bits(*f) for f in formats]
    group = int(call.scaling.removeprefix("aps:")) if call.scaling.startswith("aps:") else 8
    cuts = ring_cuts(counts, bits, len(parts), call.accumulate == "kahan", group)
    results = []
    for t, (shape, count) in enumerate(zip(shapes, counts, strict=True)):
        flat = [[np.ascontiguousarray(n[t]).reshape(-1) for n in nodes] for nodes in parts]
        total = np.empty(count, np.float32)
        for piece in _pieces(count, call.scaling):
            length = piece.stop - piece.start
            total[piece] = ref.all_reduce(
                [[g[piece] for g in nodes] for nodes in flat],
                *formats[t],
                accumulate=call.accumulate,
                algorithm=call.algorithm,
                aps=call.scaling != "none",
                op=call.op,
                cuts=[min(max(c - piece.start, 0), length) for c in cuts[t]],
            )
        results.append(total.reshape(shape))
    return results
