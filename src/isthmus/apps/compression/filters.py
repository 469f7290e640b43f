"""Differences along axes, which numbers that change little become small by; in int64, where overflow wraps and unwraps."""

from __future__ import annotations

import numpy as np

FILTERS: tuple[tuple[int, ...], ...] = ((), (0,), (-1,), (-1, -2), (0, -1, -2), (0, 0), (0, -1), (-1, -1))
"""Along which axes differences are taken, one after another; axis 0 are the rows. Files name them by their place."""


def suitable(ndim: int) -> list[int]:
    """Return the filters that an array of so many axes has the axes for."""
    return [place for place, axes in enumerate(FILTERS) if ndim > max((-axis for axis in axes if axis < 0), default=0)]


def apply(k: np.ndarray, which: int) -> np.ndarray:
    """Return the differences of ``k``."""
    for axis in FILTERS[which]:
        before = np.zeros_like(k)
        np.moveaxis(before, axis, 0)[1:] = np.moveaxis(k, axis, 0)[:-1]
        k = k - before
    return k


def undo(r: np.ndarray, which: int) -> np.ndarray:
    """Return what ``apply`` was given."""
    for axis in reversed(FILTERS[which]):
        r = np.cumsum(r, axis=axis, dtype=np.int64)
    return r


def cost(r: np.ndarray) -> float:
    """Return about how many bits a number of ``r`` takes: the entropy of its size, and the bits below it."""
    if not r.size:
        return 0.0
    sizes = np.frexp(np.abs(r.astype(np.float64)))[1]
    counts = np.bincount(sizes.reshape(-1))
    share = counts[counts > 0] / r.size
    return float(-(share * np.log2(share)).sum() + np.maximum(sizes - 0.5, 0).mean())
