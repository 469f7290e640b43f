"""How columns of a table are coded: what is learned, apart from statistics that the decoder gathers itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.apps.compression.engines.engine import UnsuitedError

NUMBERS = 1 << 40
"""Columns of more values than that have no predictions."""
REACH = 1 << 60
"""Columns that span more are lists of values."""
BINS = 64
SHIFT = 24
"""Weights are whole numbers over 2^SHIFT."""
PARENTS = 6
OTHERS = 4
PREDICTORS = 3
_PRODUCT = 20


@dataclass(frozen=True)
class Predictor:
    """A linear prediction of a rank by earlier columns of the row, products of two of them, and the row before.

    ``causes``: columns (a, -1), or products (a, b); ``weights`` of them, ``back`` of the row before, ``intercept``: of unit
    2^-SHIFT. ``spread``: how far off it is, about, in 256ths.
    """

    causes: tuple[tuple[int, int], ...]
    weights: tuple[int, ...]
    back: int
    intercept: int
    spread: int

    def over(self, known: np.ndarray, columns: tuple[Column, ...], rows: int) -> np.ndarray:
        """Return the prediction (n,) as far as it is by other columns, of unit 2^-SHIFT."""
        total = np.full(rows, self.intercept, np.int64)
        for (a, b), weight in zip(self.causes, self.weights, strict=True):
            total += weight * feature(known, columns, a, b)
        return total

    def finish(self, total: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the prediction (n,) in 256ths."""
        return (total + self.back * before) >> (SHIFT - 8)


@dataclass(frozen=True)
class Column:
    """How one column is coded.

    ``place``: where it stands in the table. ``least``, ``size``: its values are least + (0 .. size - 1), or, with ``levels``,
    these. ``mode``: 0: by rank, else by how far it is from the prediction of that predictor. ``parents``: earlier columns that
    are contexts together, each with the row (-1, 0, 1 from here) it is taken from; ``others``: contexts one by one.
    """

    place: int
    least: int
    size: int
    levels: tuple[int, ...]
    mode: int = 0
    parents: tuple[tuple[int, int], ...] = ()
    others: tuple[tuple[int, int], ...] = ()
    predictors: tuple[Predictor, ...] = ()

    def ranks(self, x: np.ndarray) -> np.ndarray:
        """Return x (n,) as 0 .. size - 1."""
        if not self.levels:
            u = x - self.least
            if len(u) and (u.min() < 0 or u.max() >= self.size):
                raise UnsuitedError
            return u
        levels = np.array(self.levels)
        u = np.minimum(np.searchsorted(levels, x), len(levels) - 1)
        if (levels[u] != x).any():
            raise UnsuitedError
        return u

    def values(self, u: np.ndarray) -> np.ndarray:
        u = np.clip(u, 0, self.size - 1)
        return np.array(self.levels, np.int64)[u] if self.levels else u + self.least

    def binned(self, u: np.ndarray) -> np.ndarray:
        """Return ranks as what contexts are made of: themselves if they are few, else one of BINS."""
        return u if self.size <= 4 * BINS else u // (-(-self.size // BINS))


def feature(known: np.ndarray, columns: tuple[Column, ...] | list[Column], a: int, b: int) -> np.ndarray:
    """Return the ranks (n,) of column a, or their product with those of column b, of at most some 2^20 if it is one."""
    if b < 0:
        return known[a]
    over = columns[a].size.bit_length() + columns[b].size.bit_length() - _PRODUCT
    return (known[a] * known[b]) >> max(over, 0)
