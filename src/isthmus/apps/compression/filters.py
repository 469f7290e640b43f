"""Differences along axes, by which numbers that change little become small; in int64, where overflow wraps and unwraps."""

from __future__ import annotations

import numpy as np

from isthmus.apps.compression.coder import bit_lengths

FILTERS: tuple[tuple[int, ...], ...] = ((), (0,), (-1,), (-1, -2), (0, -1, -2), (0, 0), (0, -1), (-1, -1))
"""Along which axes differences are taken, one after another; axis 0 are the rows. Files name them by their place."""

PLAIN = 32
"""Numbers below this are symbols of their own; above, four share an octave."""
SYMBOLS = PLAIN + 4 * 59


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


def split(r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the symbol of every number, how many bits stand below it, and those bits."""
    u = ((r << 1) ^ (r >> 63)).view(np.uint64)
    widths = np.maximum(bit_lengths(u) - 3, 0)
    small = u < PLAIN
    widths[small] = 0
    top = (u >> widths.astype(np.uint64)).astype(np.int64)  # 4 .. 7, or the number itself
    symbols = np.where(small, top, PLAIN + 4 * (widths - 3) + top - 4)
    return symbols, widths, u & ((np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1))


def joined(symbols: np.ndarray, widths: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return what ``split`` was given."""
    top = np.where(symbols < PLAIN, symbols, 4 + (symbols - PLAIN) % 4).astype(np.uint64)
    u = (top << widths.astype(np.uint64)) | below
    return (u >> np.uint64(1)).astype(np.int64) ^ -(u & np.uint64(1)).astype(np.int64)


def cost(r: np.ndarray) -> float:
    """Return about how many bits a number of ``r`` takes: the entropy of its symbol, and the bits below."""
    if not r.size:
        return 0.0
    flat = r.reshape(-1)
    symbols, widths, _ = split(flat - middle(flat))
    counts = np.bincount(symbols)
    share = counts[counts > 0] / flat.size
    return float(-(share * np.log2(share)).sum() + widths.mean())


def middle(r: np.ndarray) -> np.int64:
    """Return what half of the first numbers lie below: near 0 after a filter, anywhere without one."""
    few = np.sort(r.reshape(-1)[: 1 << 14])
    return few[len(few) // 2] if few.size else np.int64(0)
