"""How rare each cell is in its column, whatever the others say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.data.rows import Rows

FEW_VALUES = 20
"""A column of at most so many values is counted value by value."""
FEWEST_BINS, MOST_BINS = 10, 60
DOUBT = 0.5
"""Rows that each bin is granted before any is seen (Jeffreys 1946)."""


class Column:
    """The histogram of one column: of its values as they are, or of bins of equal width; "outside" and "gap" are bins, too."""

    def __init__(self, edges: np.ndarray, counts: np.ndarray, is_counted: bool) -> None:
        self.edges, self.counts, self.is_counted = edges, counts, is_counted
        """``edges`` are the values where ``is_counted``, else the bounds of the bins; the last two counts: outside, gap."""

    @classmethod
    def learn(cls, values: np.ndarray, is_category: bool) -> Column:
        """Count the values (n,) of a column; NaN is a gap."""
        known = values[~np.isnan(values)]
        unique = np.unique(known[: 100 * FEW_VALUES])
        unique = np.unique(known) if len(unique) <= FEW_VALUES or is_category else unique
        if is_category or len(unique) <= FEW_VALUES:
            column = cls(unique, np.zeros(len(unique) + 2), True)
        else:
            bins = int(np.clip(math.sqrt(len(known)) / 2, FEWEST_BINS, MOST_BINS))
            column = cls(np.histogram_bin_edges(known, bins), np.zeros(bins + 2), False)
        column.counts = np.bincount(column.place(values), minlength=len(column.counts)).astype(np.float64)
        return column

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return (n,) the number of the bin of each value."""
        if self.is_counted:
            bins = np.minimum(np.searchsorted(self.edges, values), max(len(self.edges) - 1, 0))
            inside = self.edges[bins] == values if len(self.edges) else np.zeros(len(values), bool)
        else:
            bins = np.searchsorted(self.edges, values, side="right") - 1
            bins = np.where(values == self.edges[-1], len(self.edges) - 2, bins)
            inside = (bins >= 0) & (bins < len(self.edges) - 1)
        last = len(self.counts)
        return np.where(np.isnan(values), last - 1, np.where(inside, bins, last - 2))

    def surprise(self, values: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
        """Return -log of the share of the bin of each value; the value itself is taken off where it was ``counted``."""
        own = np.zeros(len(values)) if counted is None else counted.astype(np.float64)
        place = self.place(values)
        if not self.is_counted:
            for edge in self.edges[[0, -1]]:
                alone = np.flatnonzero((values == edge) & (own > 0))
                if len(alone) == 1:  # the bounds are where they are for its sake: it would lie outside
                    place[alone], own[alone] = len(self.counts) - 2, 0
        # one logarithm a bin, and not a row: those of numpy may differ in the last bit by their place in the array
        rest, bins = self.counts.sum(), len(self.counts)
        of_all = -np.log((self.counts + DOUBT) / (rest + DOUBT * bins))
        of_others = -np.log((np.maximum(self.counts - 1, 0) + DOUBT) / (max(rest - 1, 0) + DOUBT * bins))
        return np.where(own > 0, of_others[place], of_all[place])


class Frequencies:
    """-log of how frequent each cell's value is in its column; the sum takes columns for independent (Goldstein 2012)."""

    def __init__(self, histograms: list[Column], columns: Columns) -> None:
        self.histograms, self.columns = histograms, columns

    @classmethod
    def learn(cls, rows: Rows, kept: np.ndarray, columns: Columns) -> Frequencies:
        """Count the values of the ``kept`` rows."""
        values = one_a_column(rows.subset(kept), columns)
        numeric = columns.is_numeric
        return cls([Column.learn(column, not numeric[place]) for place, column in enumerate(values.T)], columns)

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        """Return (n, columns) the surprise at each cell; rows that were ``seen`` (n,) do not count themselves."""
        values = one_a_column(rows, self.columns)
        return np.stack([h.surprise(column, seen) for h, column in zip(self.histograms, values.T, strict=True)], 1)

    def count(self, rows: Rows) -> None:
        """Count further rows, in the bins there are."""
        for histogram, column in zip(self.histograms, one_a_column(rows, self.columns).T, strict=True):
            histogram.counts += np.bincount(histogram.place(column), minlength=len(histogram.counts))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything, flat."""
        return {
            "edges": np.concatenate([h.edges for h in self.histograms]),
            "counts": np.concatenate([h.counts for h in self.histograms]),
            "sizes": np.array([[len(h.edges), len(h.counts), h.is_counted] for h in self.histograms], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], columns: Columns) -> Frequencies:
        sizes = arrays["sizes"]
        edges = np.split(arrays["edges"], np.cumsum(sizes[:-1, 0]))
        counts = np.split(arrays["counts"], np.cumsum(sizes[:-1, 1]))
        return cls([Column(*each) for each in zip(edges, counts, sizes[:, 2] == 1, strict=True)], columns)


def one_a_column(rows: Rows, columns: Columns) -> np.ndarray:
    """Return (n, columns) one number for each cell: the number itself, or which category; NaN at gaps."""
    out = np.empty((len(rows), columns.number), np.float64)
    told = {block.column for block in columns.blocks if not block.gap}  # of the others only their gaps are
    for place, x, observed in pieces(rows):
        values = x.astype(np.float64)
        if observed is not None:
            values[~observed] = np.nan
        if not columns.names:
            out[place] = values
            continue
        for block in columns.blocks:
            if not block.gap or block.column not in told:
                own = values[:, block.features]
                # of a category that was never seen nothing is known: it counts as outside
                code = np.where(own.sum(1) > 0, own.argmax(1), -1.0) if block.kind == "category" else own[:, 0]
                out[place, columns.names.index(block.column)] = np.where(np.isnan(own[:, 0]), np.nan, code)
    return out
