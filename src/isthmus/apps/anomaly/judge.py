"""What a detector has learned: heads that say how much each column adds to the oddness of a row, and how odd that is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.tails import Tail
from isthmus.chunks import chunks
from isthmus.data.rows import Rows

ROWS_AT_ONCE = 2**22
"""Scores are computed for so many numbers at a time, which bounds the memory."""


class Head(Protocol):
    """One view of a row."""

    def of(self, rows: Rows) -> np.ndarray:
        """Return (n, columns) what each column adds to the oddness of each row; never negative."""
        ...


class Judge:
    """Several heads, their tail probabilities multiplied (Fisher 1932).

    The heads are not independent, so the product is a score and no p-value; calibration makes one of it.
    """

    def __init__(
        self, heads: dict[str, Head], tails: dict[str, Tail], typical: dict[str, np.ndarray], columns: Columns
    ):
        self.heads, self.tails, self.columns = heads, tails, columns
        self.typical = typical
        """Of each head, (columns,) what a column usually adds: its median over the rows learned from."""

    @classmethod
    def settle(cls, heads: dict[str, Head], found: dict[str, np.ndarray], kept: np.ndarray, columns: Columns) -> Judge:
        """Take what heads say of reference rows, each (n, columns), as what is usual; ``kept`` are the normal ones."""
        tails = {name: Tail.learn(cells.sum(1)) for name, cells in found.items()}
        return cls(heads, tails, {name: np.median(cells[kept], 0) for name, cells in found.items()}, columns)

    def combine(self, found: dict[str, np.ndarray]) -> np.ndarray:
        """Return (n,) the sum of -log tail probabilities of what the heads say, each (n, columns)."""
        return np.sum([self.tails[name](cells.sum(1)) for name, cells in found.items()], axis=0)

    def cells(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return for each head (n, columns) what every column adds to the oddness of each row."""
        return {name: head.of(rows) for name, head in self.heads.items()}

    def score(self, rows: Rows) -> np.ndarray:
        """Return (n,) how odd each row is; higher is odder."""
        out = np.empty(len(rows))
        for place in chunks(len(rows), max(1, ROWS_AT_ONCE // self.columns.number)):
            out[place] = self.combine(self.cells(rows.subset(place)))
        return out
