"""What a detector has learned: heads that say how much each column adds to the oddness of a row, and how odd that is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.tails import Tail, leave_one_out
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
    """Several heads, their tail probabilities multiplied (Fisher 1932), or with ``one_suffices`` the smallest (Tippett 1931).

    The heads are not independent, so either is a score and no p-value; calibration makes one of it.
    """

    def __init__(
        self,
        heads: dict[str, Head],
        tails: dict[str, Tail],
        typical: dict[str, np.ndarray],
        columns: Columns,
        one_suffices: bool = False,
    ):
        self.one_suffices = one_suffices
        self.heads, self.tails, self.columns = heads, tails, columns
        self.typical = typical
        """Of each head, (columns,) what a column usually adds: its median over the rows learned from."""

    @classmethod
    def settle(
        cls,
        heads: dict[str, Head],
        found: dict[str, np.ndarray],
        kept: np.ndarray,
        columns: Columns,
        one_suffices: bool = False,
    ) -> Judge:
        """Take what heads say of reference rows, each (n, columns), as what is usual; ``kept`` are the normal ones."""
        tails = {name: Tail.learn(cells.sum(1)) for name, cells in found.items()}
        typical = {name: np.median(cells[kept], 0) for name, cells in found.items()}
        return cls(heads, tails, typical, columns, one_suffices)

    def combine(self, found: dict[str, np.ndarray]) -> np.ndarray:
        """Return (n,) the sum, or the largest, of -log tail probabilities of what the heads say, each (n, columns)."""
        tails = [self.tails[name](cells.sum(1)) for name, cells in found.items()]
        return np.max(tails, axis=0) if self.one_suffices else np.sum(tails, axis=0)

    def shares(self, found: dict[str, np.ndarray]) -> np.ndarray:
        """Return (n, columns) the share of each column in the score: of what exceeds the usual, head by head as they count."""
        tails = np.stack([self.tails[name](cells.sum(1)) for name, cells in found.items()])
        weights = tails == tails.max(0) if self.one_suffices else tails
        above = [np.maximum(cells - self.typical[name], 0) for name, cells in found.items()]
        # a head that judges rows as a whole blames all columns alike
        excess = np.stack([np.broadcast_to(each, (len(each), self.columns.number)) for each in above])
        total = excess.sum(-1, keepdims=True)
        shared = np.where(total > 0, excess / np.where(total > 0, total, 1), 1 / excess.shape[-1])
        return (weights[..., None] * shared).sum(0) / np.maximum(weights.sum(0), 1e-300)[:, None]

    def combine_references(self, found: dict[str, np.ndarray]) -> np.ndarray:
        """Return (n,) the same of the rows that :meth:`settle` has learned from, each as if it had not."""
        tails = [leave_one_out(cells.sum(1)) for cells in found.values()]
        return np.max(tails, axis=0) if self.one_suffices else np.sum(tails, axis=0)

    def cells(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return for each head (n, columns) what every column adds to the oddness of each row."""
        return {name: head.of(rows) for name, head in self.heads.items()}

    def score(self, rows: Rows) -> np.ndarray:
        """Return (n,) how odd each row is; higher is odder."""
        out = np.empty(len(rows))
        for place in chunks(len(rows), max(1, ROWS_AT_ONCE // self.columns.number)):
            out[place] = self.combine(self.cells(rows.subset(place)))
        return out
