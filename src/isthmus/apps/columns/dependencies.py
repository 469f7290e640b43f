"""Columns that follow from one other column: a code and its name, a postcode and its town.

a -> b, a functional dependency (Codd 1970), holds where rows that agree on a agree on b. A gap in b whose row shows a is then
no question of probability, and whoever learns p(b | others) must not be shown a: hardly a row that has it will be asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from isthmus.apps.columns.coding import Cells

CONTRADICTED = 0.01
"""Of the rows that contradict the most frequent value of b, the share that may contradict a -> b: slips of the pen."""
EVIDENCE = 20
"""As many contradictions there have to be, were b independent of a."""
REPEATED = 0.9
"""The share of the rows showing a and b that share their a with another: a rule that answers few rows is worth none."""
GLANCE = 200
"""Rows on which most pairs of columns are ruled out."""


@dataclass(frozen=True, eq=False)
class Dependency:
    """Column ``target`` follows from column ``source``."""

    source: int
    target: int
    keys: np.ndarray
    """(v,) float64 the values of the source in units of the table, sorted."""
    exact: np.ndarray
    """(v,) float64 the value of the target that goes with each."""
    values: np.ndarray
    """(v,) float32 the same as a cell."""


@dataclass(frozen=True, eq=False)
class Dependencies:
    """All that were found among k columns."""

    found: tuple[Dependency, ...]
    count: int
    """k."""

    @classmethod
    def of(cls, cells: Cells, exact: np.ndarray) -> Dependencies:
        """Look at every pair of columns in the rows that show both.

        ``exact`` (n, k) float64 are the cells in units of the table (a category by its place): float32 may hold two codes as
        one number, and rare categories share a cell.
        """
        codes = [_codes(values, seen) for values, seen in zip(exact.T, cells.observed.T, strict=True)]
        glance = slice(None, None, max(1, len(exact) // GLANCE))
        found = []
        for source, target in permutations(range(len(codes)), 2):
            (keys, a), (values, b) = codes[source], codes[target]
            if len(keys) < len(values) or len(values) < 2 or not _repeats(a, keys) or not _maybe(a[glance], b[glance]):
                continue
            contradictions, expected, usual = _agreement(a, b)
            if expected >= EVIDENCE and contradictions <= CONTRADICTED * expected and _repeats(a[b >= 0], keys):
                known = np.flatnonzero(usual >= 0)
                as_cells = np.zeros(len(values), np.float32)
                as_cells[b[b >= 0]] = cells.values[b >= 0, target]
                found.append(Dependency(source, target, keys[known], values[usual[known]], as_cells[usual[known]]))
        return cls(tuple(found), len(codes))

    def fill(self, cells: Cells, exact: np.ndarray) -> tuple[Cells, np.ndarray]:
        """Return the cells with every gap filled that follows from a column, and what these gaps hold in units of the table.

        ``exact`` (n, k) as for :meth:`of`; what is returned beside the cells is NaN where nothing was filled. A gap may follow
        from one that was filled.
        """
        values, observed = cells.values.copy(), cells.observed.copy()
        exact, certain = np.where(observed, exact, np.nan), np.full(exact.shape, np.nan)
        before = -1
        while before < (before := int(observed.sum())):  # until a round fills nothing
            for each in self.found:
                rows = np.flatnonzero(~observed[:, each.target] & observed[:, each.source])
                place = np.searchsorted(each.keys, exact[rows, each.source]).clip(max=len(each.keys) - 1)
                known = each.keys[place] == exact[rows, each.source]
                rows, place = rows[known], place[known]
                values[rows, each.target], observed[rows, each.target] = each.values[place], True
                exact[rows, each.target] = certain[rows, each.target] = each.exact[place]
        return Cells(values, observed), certain

    @property
    def sources(self) -> np.ndarray:
        """(k, k) bool: whether the column of the line follows from that of the row; each from itself."""
        follows = np.eye(self.count, dtype=bool)
        for each in self.found:
            follows[each.target, each.source] = True
        return follows


def _codes(values: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values of a column, and which of them each row holds, -1 at gaps."""
    seen = seen & ~np.isnan(values)
    distinct, inverse = np.unique(values[seen], return_inverse=True)
    codes = np.full(len(values), -1)
    codes[seen] = inverse
    return distinct, codes


def _repeats(codes: np.ndarray, distinct: np.ndarray) -> bool:
    """Return whether nearly all rows that show a value share it with another."""
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    return bool(counts[counts > 1].sum() >= REPEATED * counts.sum())


def _agreement(a: np.ndarray, b: np.ndarray) -> tuple[int, float, np.ndarray]:
    """Return how many rows contradict a -> b, how many would if b were independent of a, and the usual b of each a.

    A row that is the first with its value of a cannot contradict anything; the usual b is -1 for an a never seen with one.
    """
    both = (a >= 0) & (b >= 0)
    if not both.any():
        return 0, 0.0, np.full(a.max(initial=-1) + 1, -1)
    wide = int(b.max()) + 1
    pair, count = np.unique(a[both] * wide + b[both], return_counts=True)
    order = np.argsort(count, kind="stable")  # the most frequent b of an a is written last
    usual, most = np.full(int(a.max()) + 1, -1), np.zeros(int(a.max()) + 1, np.int64)
    usual[pair[order] // wide], most[pair[order] // wide] = pair[order] % wide, count[order]
    total = int(both.sum())
    independent = 1 - np.bincount(b[both]).max() / total
    return total - int(most.sum()), (total - int((most > 0).sum())) * independent, usual


def _maybe(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether some rows leave it open that a -> b."""
    contradictions, expected, _ = _agreement(a, b)
    return contradictions <= 2 + 2 * CONTRADICTED * expected
