"""A table as a chain of columns: the values each can take, how they are grouped, and what a network sees of them.

table -> TableCodec.exact -> values (n, fields) float64 -> classes (n, k)    which of its values every cell is
                                                        -> features (n, p)   of every column, one after the other
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus import data
from isthmus.apps.imputation.merging import as_table
from isthmus.data.columns import Category, Constant, LeftOut, Numeric, Time
from isthmus.data.tables import Field, TableCodec

SUPPORT = 1024
"""The most values of a number that are told apart; of more, so many order statistics stand for those around them."""
BINS = 32
"""Groups of a number's values that have a logit each."""
REACH = 5.0
"""Standard deviations beyond which a number moves the network no farther."""
MOST_HATS = 256
"""Hat functions of all numbers together, so that wide tables stay affordable."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column that is drawn: the values it can take, how often each was seen, and which bin each belongs to."""

    name: str
    place: int
    """Which field of the codec it is."""
    number: bool
    values: np.ndarray
    """(s,) float64, sorted; NaN, last, is a gap."""
    counts: np.ndarray
    """(s,)"""
    bins: np.ndarray
    """(s,) int64, from 0 on: a value seen often has a bin of its own, rarer neighbours share one."""
    smooth: bool = False
    """Whether values between those are drawn too: the column takes more than are told apart."""
    decimals: int | None = None
    """To how many decimals such values are rounded; None is not at all."""

    @property
    def width(self) -> int:
        """How many bins there are."""
        return int(self.bins[-1]) + 1

    @property
    def gaps(self) -> bool:
        return bool(np.isnan(self.values[-1]))

    @property
    def known(self) -> np.ndarray:
        """The values that are no gap."""
        return self.values[:-1] if self.gaps else self.values

    @property
    def edges(self) -> np.ndarray:
        """Where one value of a number ends and the next begins, both ends of the range included, (known + 1,)."""
        known = self.known
        return np.concatenate([known[:1], (known[1:] + known[:-1]) / 2, known[-1:]])

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the known values."""
        known, weights = self.known, self.counts[: len(self.known)]
        mean = float(np.average(known, weights=weights))
        return mean, float(np.sqrt(np.average((known - mean) ** 2, weights=weights))) or 1.0

    @property
    def positions(self) -> np.ndarray:
        """Where each known value stands between 0 and 1, if all bins are equally wide, (known,)."""
        bins, counts = self.bins[: len(self.known)], self.counts[: len(self.known)]
        totals = np.bincount(bins, counts)
        before = np.concatenate([[0.0], np.cumsum(totals)[:-1]])
        inside = (np.cumsum(counts) - counts / 2 - before[bins]) / totals[bins]
        return (bins + inside) / len(totals)

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Return which of its values each cell is, or is nearest to, (n,); a gap where none was seen is 0."""
        gap = np.isnan(values)
        found = np.searchsorted(self.edges[1:-1], np.where(gap, self.values[0], values), side="right")
        return np.where(gap, len(self.values) - 1 if self.gaps else 0, found)

    def between(self, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the values of these classes (n,); those of a smooth column fall anywhere between the neighbours."""
        if not self.smooth:
            return self.values[which]
        gap = which >= len(self.known)
        place = np.where(gap, 0, which)
        low, high = self.edges[place], self.edges[place + 1]
        values = low + rng.random(len(which)) * (high - low)
        if self.decimals is not None:
            values = np.clip(np.round(values, self.decimals), self.known[0], self.known[-1])
        return np.where(gap, np.nan, values)


@dataclass(frozen=True, eq=False)
class Coding:
    """The columns of a table in the order in which they are drawn: those with the fewest values first."""

    codec: TableCodec
    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, X: Any) -> tuple[Coding, np.ndarray]:
        """Learn the columns of a table, and return its cells (n, k)."""
        X = as_table(X)
        codec = data.learn(X, scale="columns")
        assert isinstance(codec, TableCodec)
        exact = codec.exact(X)
        found = [
            _learned(field, place, exact[:, place])
            for place, field in enumerate(codec.fields)
            if not isinstance(field.column, LeftOut) and (field.column.block is not None or field.gap is not None)
        ]
        columns = tuple(sorted(found, key=lambda column: (column.smooth, len(column.values), column.place)))
        coding = cls(codec, columns)
        return coding, exact[:, [column.place for column in columns]]

    @property
    def hats(self) -> int:
        """How many hat functions see each number."""
        numbers = max(1, sum(column.number for column in self.columns))
        return int(np.clip(MOST_HATS // numbers, 4, BINS))

    @property
    def offsets(self) -> np.ndarray:
        """Where the features of each column begin, and their number, (k + 1,)."""
        widths = [1 + self.hats + column.gaps if column.number else column.width for column in self.columns]
        return np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)

    def encode(self, X: Any) -> np.ndarray:
        """Return the cells of a table that has the learned columns, (n, k)."""
        return self.codec.exact(as_table(X))[:, [column.place for column in self.columns]]

    def decode(self, cells: np.ndarray) -> Any:
        """Return the table whose cells these are; columns with nothing to draw hold their one value, or gaps."""
        exact = np.full((len(cells), len(self.codec.fields)), np.nan)
        for place, field in enumerate(self.codec.fields):
            if isinstance(field.column, Constant):
                exact[:, place] = 0.0
        exact[:, [column.place for column in self.columns]] = cells
        return self.codec.from_exact(exact)

    def features(self, place: int, values: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return what a network sees of a column, (n, f) float32: a number and its hats, or which bin."""
        column = self.columns[place]
        if not column.number:
            return np.eye(column.width, dtype=np.float32)[column.bins[classes]]
        mean, deviation = column.moments
        gap = np.isnan(values)
        filled = np.where(gap, mean, values)
        standard = np.clip((filled - mean) / deviation, -REACH, REACH)
        at = np.interp(filled, column.known, column.positions) * (self.hats - 1)
        hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(self.hats))) * ~gap[:, None]
        return np.column_stack([standard, hats, *([gap] if column.gaps else [])]).astype(np.float32)


def _learned(field: Field, place: int, cells: np.ndarray) -> Column:
    """Learn the values of a column from its cells (n,)."""
    seen, gaps = cells[~np.isnan(cells)], float(np.isnan(cells).sum())
    number = isinstance(field.column, Numeric | Time)
    values = np.unique(seen)
    smooth = number and len(values) > SUPPORT
    if smooth:
        values = np.unique(np.quantile(seen, np.linspace(0, 1, SUPPORT), method="inverted_cdf"))
    counts = np.bincount(np.searchsorted((values[1:] + values[:-1]) / 2, seen, side="right"), minlength=len(values))
    counts = np.maximum(counts, 0.5)
    if number:
        bins = _grouped(counts)
    elif isinstance(field.column, Category):
        bins = np.minimum(values.astype(np.int64), len(field.column.kept))
        bins = np.unique(bins, return_inverse=True)[1]
    else:
        bins = np.arange(len(values))
    if gaps:
        values, counts = np.append(values, np.nan), np.append(counts, gaps)
        bins = np.append(bins, bins[-1] + 1)
    return Column(field.dress.name, place, number, values, counts, bins, smooth, _decimals(seen) if smooth else None)


def _grouped(counts: np.ndarray) -> np.ndarray:
    """Return a bin for each value (s,): one of its own to whatever fills a bin, the rest in runs that weigh the same."""
    heavy, left = np.zeros(len(counts), bool), float(BINS)
    while left > 1:
        more = ~heavy & (counts >= counts[~heavy].sum() / left)
        if not more.any():
            break
        heavy |= more
        left = BINS - heavy.sum()
    light = np.where(heavy, 0.0, counts)
    share = (np.cumsum(light) - light / 2) / max(light.sum(), 1.0)
    runs = np.where(heavy, -1, np.minimum((share * max(left, 1.0)).astype(np.int64), int(max(left, 1.0)) - 1))
    begins = heavy | (runs != np.concatenate([[-2], runs[:-1]]))
    return np.cumsum(begins) - 1


def _decimals(values: np.ndarray) -> int | None:
    """Return to how many decimals all values are written, None where they are not round."""
    return next((places for places in range(7) if (np.round(values, places) == values).all()), None)
