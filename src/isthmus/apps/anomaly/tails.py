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
        upper = ordered[int(0.9 * n) :]
        excess = float(upper.mean() - upper[0]) or float(ordered.std()) or 1.0
        return cls(knots, heights, 1 / excess)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return (n,) -log tail probabilities; higher = odder."""
        inside = np.interp(scores, self.knots, self.heights)
        return inside + self.slope * np.maximum(scores - self.knots[-1], 0)
