"""Medians of repeated launches, and how far to trust them: bootstrap intervals."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percent


def median_of(launches: Sequence[Sequence[float]]) -> float:
    """Of all iterations of all launches."""
    return float(np.median(np.concatenate([np.asarray(times) for times in launches])))


def seed_of(name: str) -> int:
    """The same for the same name in every run."""
    return zlib.crc32(name.encode())


def launch_draws(launches: int, resamples: int = RESAMPLES, seed: int = 1) -> np.ndarray:
    """Numbers in [0, 1) that pick launches, [resamples, launches].

    All rows of a table share them: launch 0 of one contender ran beside launch 0 of the others, so
    that what disturbed it disturbed them, too, and cancels in their ratio.
    """
    return np.random.default_rng(seed).random((resamples, launches))


def resampled_medians(
    launches: Sequence[Sequence[float]], draws: np.ndarray, seed: int
) -> np.ndarray:
    """The median of each resample: launches are drawn, then iterations within each of them."""
    counts = np.array([len(times) for times in launches])
    table = np.full((len(launches), counts.max()), np.nan)
    for row, times in zip(table, launches, strict=True):
        row[: len(times)] = times
    picked = (draws[:, : len(launches)] * len(launches)).astype(int)
    lengths = counts[picked][:, :, None]
    uniform = np.random.default_rng(seed).random((*picked.shape, counts.max()))
    drawn = table[picked[:, :, None], (uniform * lengths).astype(int)]
    drawn[np.broadcast_to(np.arange(counts.max()) >= lengths, drawn.shape)] = np.nan
    return medians_without_nan(drawn.reshape(len(draws), -1))


def medians_without_nan(values: np.ndarray) -> np.ndarray:
    """The median of each row; a sort puts NaN last."""
    ordered = np.sort(values, axis=1)
    counts = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    return (ordered[rows, (counts - 1) // 2] + ordered[rows, counts // 2]) / 2


def interval_of(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 percent."""
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
