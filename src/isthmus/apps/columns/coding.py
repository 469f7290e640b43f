"""A mixed table as the network sees it: one value a column, and what the columns look like when they are spread out.

table -> TableCodec -> Cells(values (n, k), observed (n, k))   numbers scaled, categories as whole numbers
values -> scores (n, k) normal scores of numbers               classes (n, k) bin of a number, category of a category
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from isthmus import data
from isthmus.data.rows import Rows
from isthmus.data.tables import TableCodec

BINS = 32
"""The most bins of a number; one with no more distinct values has a bin for each."""
SUPPORT = 1024
"""The most observed values of a number that are kept, as equally spaced order statistics."""


class Cells(NamedTuple):
    """The columns of a table that can be learned from."""

    values: np.ndarray
    """(n, k) float32: a scaled number, or which category; 0 at gaps."""
    observed: np.ndarray
    """(n, k) bool."""


@dataclass(frozen=True)
class Number:
    """A numeric column: its normal scores and its bins, both from the order statistics of what was observed."""

    name: str
    place: slice
    """The features of the codec."""
    support: np.ndarray
    """(s,) float64, sorted, with repetitions; what was observed, or as many order statistics of it."""
    mean: float
    deviation: float

    @property
    def edges(self) -> np.ndarray:
        """Where one bin ends and the next begins, (bins - 1,)."""
        distinct = np.unique(self.support)
        if len(distinct) <= BINS:
            return (distinct[1:] + distinct[:-1]) / 2
        inner = np.quantile(self.support, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf")
        return np.unique(inner[inner > distinct[0]])

    @property
    def width(self) -> int:
        return len(self.edges) + 1

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value; a bin holds its lower edge."""
        return np.searchsorted(self.edges, values, side="right")

    def ranks(self, values: np.ndarray) -> np.ndarray:
        """Return the share of observed values below each value, ties counted half, kept off 0 and 1."""
        distinct, first, count = np.unique(self.support, return_index=True, return_counts=True)
        size = len(self.support)
        middle = (first + count / 2) / size
        return np.clip(np.interp(values, distinct, middle), 0.5 / size, 1 - 0.5 / size)

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """Return the observed value below which each share lies."""
        place = np.ceil(np.asarray(shares) * len(self.support)).astype(np.int64) - 1
        return self.support[np.clip(place, 0, len(self.support) - 1)]

    @property
    def shares(self) -> np.ndarray:
        """The share of observed values below each bin, and 1, (bins + 1,)."""
        below = np.searchsorted(self.support, self.edges, side="left") / len(self.support)
        return np.concatenate([[0.0], below, [1.0]])


@dataclass(frozen=True)
class Choice:
    """A column of categories, or of two values."""

    name: str
    place: slice
    width: int
    frequencies: np.ndarray
    """(width,), of the observed cells."""

    def classes(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.int64)


@dataclass(frozen=True)
class Coding:
    """What was learned of the columns of a table: numbers first, then categories."""

    codec: TableCodec
    numbers: tuple[Number, ...]
    choices: tuple[Choice, ...]

    @classmethod
    def learn(cls, X: Any) -> tuple[Coding, Cells]:
        """Learn the columns of a table, and return its cells."""
        codec = data.learn(X, scale="columns")
        assert isinstance(codec, TableCodec)
        return cls.of(codec, *encoded(codec, X))

    @classmethod
    def of(cls, codec: TableCodec, x: np.ndarray, observed: np.ndarray) -> tuple[Coding, Cells]:
        """Learn the columns of a table that is encoded already, (n, d) each."""
        numbers, choices = [], []
        for block in codec.layout.blocks:
            if block.gap:
                continue
            place = slice(block.start, block.start + block.width)
            seen = x[observed[:, block.start], place]
            if not len(seen):  # among these rows it is nothing but gaps
                continue
            if block.kind == "numeric":
                support = np.sort(seen[:, 0].astype(np.float64))
                step = np.linspace(0, len(support) - 1, min(len(support), SUPPORT)).round().astype(np.int64)
                numbers.append(
                    Number(block.column, place, support[step], float(support.mean()), float(support.std()) or 1.0)
                )
            else:
                width = 2 if block.kind == "boolean" else block.width
                which = seen[:, 0] > 0.5 if block.kind == "boolean" else seen.argmax(1)
                choices.append(Choice(block.column, place, width, np.bincount(which, minlength=width) / len(which)))
        coding = cls(codec, tuple(numbers), tuple(choices))
        return coding, coding.cells(x, observed)

    @property
    def columns(self) -> tuple[Number | Choice, ...]:
        return (*self.numbers, *self.choices)

    @property
    def offsets(self) -> np.ndarray:
        """Where the logits of each column begin, and their number, (k + 1,)."""
        return np.concatenate([[0], np.cumsum([column.width for column in self.columns])]).astype(np.int64)

    def encode(self, X: Any) -> Cells:
        """Return the cells of a table that has the learned columns."""
        return self.cells(*encoded(self.codec, X))

    def exact(self, X: Any) -> np.ndarray:
        """Return the cells of a table in its own units, (n, k) float64, NaN at gaps; float32 does not hold every number."""
        return self.codec.exact(X)[:, self._fields()]

    def decode(self, values: np.ndarray, template: Any, exact: np.ndarray | None = None) -> Any:
        """Return the table, in the family of ``template``, whose cells these are (n, k), or those of ``exact`` but for NaN."""
        if exact is None:
            return self.codec.decode_as(self.features(values), template)
        whole = np.full((len(exact), len(self.codec.fields)), np.nan)
        whole[:, self._fields()] = exact
        return self.codec.decode_as(self.features(values), template, whole)

    def _fields(self) -> list[int]:
        """Return which field of the codec each column is."""
        names = [each.dress.name for each in self.codec.fields]
        return [names.index(column.name) for column in self.columns]

    def features(self, values: np.ndarray) -> np.ndarray:
        """Return the encoded rows (n, d) whose cells these are (n, k)."""
        x = np.zeros((len(values), self.codec.layout.size), np.float32)
        for place, column in enumerate(self.columns):
            if isinstance(column, Number) or column.place.stop - column.place.start == 1:
                x[:, column.place] = values[:, place, None]
            else:
                x[np.arange(len(x)), column.place.start + values[:, place].astype(np.int64)] = 1.0
        return x

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return the normal score of every number, (n, numbers) float32."""
        ranks = [column.ranks(values[:, place]) for place, column in enumerate(self.numbers)]
        return ndtri(np.stack(ranks, 1)).astype(np.float32) if ranks else np.zeros((len(values), 0), np.float32)

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Return bin or category of every cell, (n, k) int64."""
        return np.stack([column.classes(values[:, place]) for place, column in enumerate(self.columns)], 1)

    def standard(self, values: np.ndarray) -> np.ndarray:
        """Return numbers (n, numbers) with mean 0 and deviation 1 over what was observed."""
        mean, deviation = self._moments()
        return (values[:, : len(self.numbers)] - mean) / deviation

    def unstandard(self, standard: np.ndarray) -> np.ndarray:
        """Return what :meth:`standard` was given, kept within what was observed."""
        mean, deviation = self._moments()
        low = np.array([column.support[0] for column in self.numbers])
        high = np.array([column.support[-1] for column in self.numbers])
        return np.clip(standard * deviation + mean, low, high)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([c.mean for c in self.numbers]), np.array([c.deviation for c in self.numbers])

    def cells(self, x: np.ndarray, observed: np.ndarray) -> Cells:
        """Return the cells of encoded rows, (n, d) each."""
        values = np.zeros((len(x), len(self.columns)), np.float32)
        seen = np.zeros(values.shape, bool)
        for place, column in enumerate(self.columns):
            features = x[:, column.place]
            values[:, place] = features[:, 0] if features.shape[1] == 1 else features.argmax(1)
            seen[:, place] = observed[:, column.place.start]
        return Cells(np.where(seen, values, 0), seen)


def encoded(codec: TableCodec, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of a table and which were observed, (n, d) each."""
    return encoded_rows(codec.encode(X))


def encoded_rows(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of rows and which were observed, (n, d) each."""
    x, observed = rows.take(slice(None))
    return x.numpy(), np.ones(x.shape, bool) if observed is None else observed.numpy()


def knots(column: Number, count: int) -> np.ndarray:
    """Return the values, standardised, that stand at equally spaced ranks from 0 to 1, (count,)."""
    middle = np.interp(np.linspace(0, 1, count), *_rank_curve(column))
    return (middle - column.mean) / column.deviation


def _rank_curve(column: Number) -> tuple[np.ndarray, np.ndarray]:
    distinct = np.unique(column.support)
    return column.ranks(distinct), distinct
