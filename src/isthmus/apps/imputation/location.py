"""The closed-form answer of small tables: the location model (Olkin & Tate 1961) as a mixture, fitted to rows with gaps by EM.

p(row) = sum_g share_g N(numbers; mean_g, covariance) prod_j p_gj(category of j)        of the observed cells alone

A row belongs to a group. Within it numbers are normal, with a covariance that all groups share, and categories are independent
of them and of each other (Hunt & Jorgensen 2003). Penguins of one species and sex are such a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from isthmus.apps.columns import Cells, Coding

ROUNDS = 40
MIXTURES = 3
"""For each member, from groups around other rows: EM ends where it began, and their mean errs less than one."""
ROWS_A_GROUP, FEWEST_GROUPS, MOST_GROUPS = 40, 2, 12
MOST_NUMBERS = 32
"""Each round inverts a matrix of this width for every pattern of gaps."""
PRIOR = 1.0
"""Rows that a group has beforehand: at the mean of the table, with its frequencies of categories."""
RIDGE = 0.01
"""Added to the variances within groups; over the whole table each is 1."""


class Groups(NamedTuple):
    """One mixture of g groups, or several along axes before."""

    shares: np.ndarray
    """(g,)."""
    means: np.ndarray
    """(g, d), standardised."""
    covariance: np.ndarray
    """(d, d)."""
    chances: np.ndarray
    """(g, c), of the categories of all columns end to end."""


class _Rows(NamedTuple):
    """Cells as a mixture wants them."""

    x: np.ndarray
    """(n, d) standardised numbers, 0 at gaps."""
    hots: np.ndarray
    """(n, c) one-hots of the categories of all columns, 0 at gaps."""
    seen: np.ndarray
    """(n, d), 0 or 1."""
    patterns: np.ndarray
    """(m, d) which numbers are seen: every combination that occurs."""
    pattern: np.ndarray
    """(n,) that of each row."""

    def take(self, which: np.ndarray) -> _Rows:
        x, hots, seen, _, pattern = self
        return _Rows(x[which], hots[which], seen[which], self.patterns, pattern[which])


@dataclass(frozen=True, eq=False)
class Location:
    """Mixtures for each member, fitted to the rows that this member does not judge."""

    groups: Groups
    """Each with two axes before: of the mixtures of a member, and of the members."""

    def predict(self, coding: Coding, cells: Cells, by: np.ndarray | None = None) -> np.ndarray:
        """Return the expected numbers, standardised, and the probabilities of all categories, (n, d + c).

        ``by`` (n,) says which member is asked about a row; -1, and None, is the mean of all.
        """
        rows, (mixtures, members) = _rows(coding, cells), self.groups.shares.shape[:2]
        by = np.full(len(rows.x), -1) if by is None else by
        total = np.zeros((len(rows.x), rows.x.shape[1] + rows.hots.shape[1]))
        for mixture, member in np.ndindex(mixtures, members):
            asked = (by == member) | (by < 0)
            groups = Groups(*(values[mixture, member] for values in self.groups))
            belongs, expected, _ = _expect(rows.take(asked), groups)
            means = (belongs[:, :, None] * expected).sum(1)
            total[asked] += np.concatenate([means, belongs @ groups.chances], 1)
        return total / (mixtures * np.where(by < 0, members, 1))[:, None]


def fit_location(coding: Coding, cells: Cells, judge: np.ndarray, seed: int) -> Location | None:
    """Fit mixtures for each of the members that judge rows, (n,); None if the numbers are too many for them."""
    if len(coding.numbers) > MOST_NUMBERS:
        return None
    rows, rng = _rows(coding, cells), np.random.default_rng(seed)
    count = int(np.clip(len(judge) // ROWS_A_GROUP, FEWEST_GROUPS, MOST_GROUPS))
    members = judge.max() + 1
    each = [_fit(coding, rows.take(judge != place % members), count, rng) for place in range(MIXTURES * members)]
    stacked = (np.stack(parts) for parts in zip(*each, strict=True))
    return Location(Groups(*(parts.reshape(MIXTURES, members, *parts.shape[1:]) for parts in stacked)))


def _fit(coding: Coding, rows: _Rows, count: int, rng: np.random.Generator) -> Groups:
    """Fit one mixture by EM, from groups around rows that are picked at random."""
    size, d = rows.x.shape
    frequencies = np.concatenate([np.zeros(0), *(column.frequencies for column in coding.choices)]) + 1e-3
    owner = np.repeat(np.arange(len(coding.choices)), [column.width for column in coding.choices])
    blocks = (owner[:, None] == owner).astype(np.float64)  # sums the categories of each column
    picked = rng.choice(size, count, replace=size < count)
    chances = rows.hots[picked] + frequencies
    groups = Groups(np.full(count, 1 / count), 0.7 * rows.x[picked], 0.5 * np.eye(d), chances / (chances @ blocks))
    for _ in range(ROUNDS):
        belongs, expected, unknown = _expect(rows, groups)
        weight = belongs.sum(0)
        means = np.einsum("ng,ngd->gd", belongs, expected) / (weight[:, None] + PRIOR)
        away = np.sqrt(belongs)[:, :, None] * (expected - means)
        scatter = np.tensordot(away, away, ((0, 1), (0, 1))) + unknown
        chances = belongs.T @ rows.hots + PRIOR * frequencies
        groups = Groups(
            (weight + 1) / (size + count), means, scatter / size + RIDGE * np.eye(d), chances / (chances @ blocks)
        )
    return groups


def _expect(rows: _Rows, groups: Groups) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the chance of each group (n, g), the numbers expected within it (n, g, d), and the covariance in gaps, summed.

    What remains unknown of a row does not depend on its group, nor does the determinant of its observed numbers.
    """
    shares, means, covariance, chances = groups
    patterns, times = rows.patterns, np.bincount(rows.pattern, minlength=len(rows.patterns))
    both = patterns[:, :, None] * patterns[:, None, :]
    inverse = np.linalg.inv(both * covariance + (1 - patterns)[:, :, None] * np.eye(len(covariance))) * both
    away = (rows.x[:, None] - means) * rows.seen[:, None]
    pull = away @ inverse[rows.pattern]
    belongs = softmax(np.log(shares) + rows.hots @ np.log(chances).T - (pull * away).sum(2) / 2, 1)
    unknown = len(rows.x) * covariance - covariance @ np.tensordot(times, inverse, 1) @ covariance
    return belongs, means + pull @ covariance, unknown


def _rows(coding: Coding, cells: Cells) -> _Rows:
    n = len(coding.numbers)
    seen = cells.observed[:, :n].astype(np.float64)
    hots = [
        (cells.values[:, n + i, None] == np.arange(column.width)) & cells.observed[:, n + i, None]
        for i, column in enumerate(coding.choices)
    ]
    patterns, pattern = np.unique(seen, axis=0, return_inverse=True)
    hots = np.concatenate([np.zeros((len(seen), 0)), *hots], 1)
    return _Rows(coding.standard(cells.values) * seen, hots, seen, patterns, pattern.reshape(-1))
