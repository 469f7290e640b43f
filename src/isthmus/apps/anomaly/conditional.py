"""What a channel of a window should be, given all its other channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.apps.anomaly.bags import mean_over
from isthmus.apps.anomaly.cells import pieces
from isthmus.data.rows import Rows
from isthmus.layout import Layout

LARGEST = 1024
"""In windows of more numbers, points that follow one another are averaged until so many are left."""
FLOOR = 1e-3
"""The least that is added to each variance, as a share of their mean: what differs by less is not told apart."""
ROUNDS = 3
"""How often gaps are filled by what a covariance says, and the covariance is learned anew."""
STEPS, CLOSE = 200, 1e-8
"""Filling gaps ends after so many steps, or with a residual so small."""


class Conditional:
    """The squared Mahalanobis distance of each channel of a window from what its other channels lead one to expect.

    For windows x ~ N(m, P^-1), and c the numbers of one channel, x_c given all others has the precision P_cc, and lies

        (P (x - m))_c^T  P_cc^-1  (P (x - m))_c          chi-squared, as many degrees of freedom as points

    from its conditional mean: the closed form of a linear autoencoder that rebuilds each channel without seeing it. Of a
    single channel it is the Mahalanobis distance of the window. Covariances are shrunk (Ledoit 2004); gaps take the values
    that are most probable given the rest of the window.
    """

    def __init__(self, means: np.ndarray, precisions: np.ndarray, group: int, channels: int) -> None:
        self.means, self.precisions = means, precisions
        """(bags, d) and (bags, d, d), where d = points after averaging * channels."""
        self.group, self.channels = group, channels
        """``group`` points are averaged into one."""
        owner = np.tile(np.arange(channels), means.shape[1] // channels)
        self._owned = [np.flatnonzero(owner == channel) for channel in range(channels)]
        self._within = [[np.linalg.inv(p[np.ix_(own, own)]) for own in self._owned] for p in precisions]

    @classmethod
    def learn(cls, rows: Rows, layout: Layout, bags: Sequence[np.ndarray]) -> Conditional:
        """Learn means and covariances from the windows of each bag."""
        length, channels = layout.shape
        group = min(length, -(-layout.size // LARGEST))
        means, precisions = [], []
        for bag in bags:
            taken = [coarse(x, observed, group, channels) for _, x, observed in pieces(rows.subset(bag))]
            mean, precision = moments(np.concatenate(taken))
            means.append(mean)
            precisions.append(precision)
        return cls(np.stack(means), np.stack(precisions), group, channels)

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        """Return (n, channels) the distances; bags that have ``seen`` a window are left out."""
        out = np.empty((len(rows), self.channels))
        for place, x, observed in pieces(rows):
            values = coarse(x, observed, self.group, self.channels)
            found = np.stack([self._distances(bag, values) for bag in range(len(self.means))])
            out[place] = mean_over(found, None if seen is None else ~seen[:, place])
        return out

    def _distances(self, bag: int, values: np.ndarray) -> np.ndarray:
        precision = self.precisions[bag]
        pulls = filled(values - self.means[bag], precision) @ precision
        parts = [pulls[:, own] for own in self._owned]
        return np.stack([((p @ s) * p).sum(1) for p, s in zip(parts, self._within[bag], strict=True)], 1)


def coarse(x: np.ndarray, observed: np.ndarray | None, group: int, channels: int) -> np.ndarray:
    """Return float64 (m, points * channels), the means of ``group`` points each (the last of fewer); NaN where all are gaps."""
    seen = np.ones_like(x) if observed is None else observed.astype(np.float64)
    values = (x.astype(np.float64) * seen).reshape(len(x), -1, channels)
    if group > 1 or observed is not None:
        starts = np.arange(0, values.shape[1], group)
        counts = np.add.reduceat(seen.reshape(values.shape), starts, axis=1)
        sums = np.add.reduceat(values, starts, axis=1)
        values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return values.reshape(len(x), -1)


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and the inverse covariance (d, d), shrunk, of values (n, d) with NaN at gaps."""
    from sklearn.covariance import ledoit_wolf

    gaps = np.isnan(values)
    mean = np.where(gaps, 0.0, values).sum(0) / np.maximum((~gaps).sum(0), 1)
    apart = np.where(gaps, 0.0, values - mean)
    for left in reversed(range(ROUNDS if gaps.any() else 1)):
        covariance = ledoit_wolf(apart, assume_centered=True)[0]
        usual = np.trace(covariance) / len(covariance)
        covariance[np.diag_indices_from(covariance)] += FLOOR * usual if usual > 0 else 1.0
        precision = np.linalg.inv(covariance)
        if left:
            apart = filled(np.where(gaps, np.nan, apart), precision)
    return mean, precision  # pyright: ignore[reportPossiblyUnboundVariable] - there is at least one round


def filled(apart: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return deviations (m, d) from the mean with gaps, NaN, at their conditional mean.

    It minimises x^T P x over the gaps, that is P_gg x_g = -P_go x_o: conjugate gradients, all rows at once, each with gaps
    of its own (Hestenes 1952).
    """
    gaps = np.isnan(apart)
    x = np.where(gaps, 0.0, apart)
    where = np.flatnonzero(gaps.any(1))
    if not len(where):
        return x
    free, part = gaps[where], x[where]
    left = np.where(free, -(part @ precision), 0.0)
    way, size = left.copy(), (left**2).sum(1)
    goal = CLOSE**2 * np.maximum(size, 1e-30)
    for _ in range(STEPS):
        if (size <= goal).all():
            break
        bend = np.where(free, way @ precision, 0.0)
        step = size / np.maximum((way * bend).sum(1), 1e-300)
        part += step[:, None] * way
        left -= step[:, None] * bend
        before, size = size, (left**2).sum(1)
        way = left + (size / np.maximum(before, 1e-300))[:, None] * way
    x[where] = part
    return x
