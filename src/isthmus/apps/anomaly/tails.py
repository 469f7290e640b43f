"""Scores of different kinds become one: how far out in its own tail each lies."""

from __future__ import annotations

import numpy as np

KNOTS = 4096
"""Of more reference scores than these, quantiles are kept, and the highest quarter of the knots one by one."""


class Tail:
    """-log of the share of reference rows with a score as high, between them linear, beyond the highest exponential.

    Beyond the last reference score the tail falls as it does over the upper tenth: exp(-(s - s_max) / mean excess).
    """

    def __init__(self, knots: np.ndarray, heights: np.ndarray, slope: float) -> None:
        self.knots, self.heights, self.slope = knots, heights, slope

    @classmethod
    def learn(cls, scores: np.ndarray) -> Tail:
        """Learn from the scores (n,) of reference rows."""
        ordered = np.sort(np.asarray(scores, np.float64))
        n = len(ordered)
        knots, first = np.unique(ordered, return_index=True)
        heights = -np.log((n - first + 0.5) / (n + 1))
        if len(knots) > KNOTS:
            top = len(knots) - KNOTS // 4
            chosen = np.r_[np.linspace(0, top - 1, KNOTS - KNOTS // 4).astype(np.int64), top : len(knots)]
            knots, heights = knots[chosen], heights[chosen]
        return cls(knots, heights, _slope(ordered))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return (n,) -log tail probabilities; higher = odder."""
        inside = np.interp(scores, self.knots, self.heights)
        return inside + self.slope * np.maximum(scores - self.knots[-1], 0)


def leave_one_out(scores: np.ndarray) -> np.ndarray:
    """Return (n,) what each reference score would be by a tail learned from all others, as a new one is.

    By a tail that knows them, no reference score lies beyond the highest one, where new ones do: calibrated so, twice as
    many normal rows as there should be have the smallest p-value.
    """
    order = np.argsort(scores, kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    n = len(ordered)
    first, last = (np.searchsorted(ordered, ordered, side) for side in ("left", "right"))
    tied = last - first > 1
    heights = -np.log((np.arange(n, 0, -1) - 1 + 0.5) / n)  # of the rank of each, with itself left out
    below, above = np.maximum(first - 1, 0), np.minimum(last, n - 1)
    low, high = ordered[below], ordered[above]
    height_low = heights[first[below]]
    height_high = -np.log((n - above + 0.5) / n)
    share = (ordered - low) / np.maximum(high - low, 1e-300)
    between = height_low + share * (height_high - height_low)
    found = np.where(first == 0, height_high, between)
    found[-1] = height_low[-1] + _slope(ordered[:-1]) * (ordered[-1] - low[-1])
    out = np.empty(n)
    out[order] = np.where(tied, heights[first], found)
    return out


def _slope(ordered: np.ndarray) -> float:
    """Return how steeply the tail beyond ordered scores (n,) falls: one over the mean excess of the upper tenth."""
    upper = ordered[int(0.9 * len(ordered)) :]
    return 1 / (float(upper.mean() - upper[0]) or float(ordered.std()) or 1.0)
