"""What the checks sum."""

import itertools

import numpy as np
import torch

ACCUMULATES = ["wide", "rounded", "kahan"]
ALGORITHMS = ["direct", "ring"]
WAYS = list(itertools.product(ACCUMULATES, ALGORITHMS))


def tensors(arrays):
    """Copies that an in-place sum may overwrite."""
    return [torch.from_numpy(np.array(array, np.float32)) for array in arrays]


def noise(ranks, *counts):
    """parts[rank][node][tensor] of many magnitudes."""
    rng = np.random.default_rng(counts)
    draw = [rng.standard_normal((ranks.size, n)) * np.exp2(rng.integers(-9, 4, n)) for n in counts]
    return [[[d[rank].astype(np.float32) for d in draw]] for rank in range(ranks.size)]


def on_rank_0(ranks, count):
    """Ones whose sum every format holds."""
    return torch.full((count,), 1.0 if ranks.rank == 0 else 0.0)
