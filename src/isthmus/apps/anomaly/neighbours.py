"""How far a row lies from its nearest neighbour in small random samples of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.data.rows import Rows

BAGS = 16
MOST = 256
"""Rows to a sample: small ones thin out clusters of anomalies, so that these are far from everything too."""


class Neighbours:
    """The squared distance of a row to its nearest neighbour in each of several samples, column by column, averaged.

    Nearest neighbours in small samples (Sugiyama 2013; Pang 2015). Where cells are missing, the distance over the columns
    that both rows have is scaled up to all of them.
    """

    def __init__(
        self,
        samples: np.ndarray,
        observed: np.ndarray | None,
        columns: Columns,
        weight: np.ndarray | None = None,
    ) -> None:
        self.samples, self.columns = samples.astype(np.float64), columns
        """(bags, rows, d)."""
        self.observed = observed
        """(bags, rows, d), None where nothing is missing."""
        self.weight = np.ones(samples.shape[-1]) if weight is None else weight
        """(d,) what differences are multiplied by."""

    @classmethod
    def learn(
        cls, rows: Rows, columns: Columns, bags: Sequence[np.ndarray], weight: np.ndarray | None = None
    ) -> Neighbours:
        """Keep the rows of the bags, which are all of one size."""
        taken = [rows.take(torch.from_numpy(bag)) for bag in bags]
        x = np.stack([x.flatten(1).numpy() for x, _ in taken])
        observed = [seen.flatten(1).numpy() for _, seen in taken if seen is not None]
        return cls(x, np.stack(observed) if observed else None, columns, weight)

    def replace(self, bag: int, places: np.ndarray, x: np.ndarray, observed: np.ndarray | None) -> None:
        """Put rows (m, d) at ``places`` of a sample; of two at one place the later stays."""
        self.samples[bag, places] = x
        if self.observed is None and observed is not None:
            self.observed = np.ones(self.samples.shape, bool)
        if self.observed is not None:
            self.observed[bag, places] = True if observed is None else observed

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        """Return (n, columns) what each column adds to the mean squared distance; bags that have ``seen`` a row are out."""
        out = np.empty((len(rows), self.columns.number))
        samples = self.samples * self.weight
        for place, x, observed in pieces(rows):
            x, counted = x * self.weight, None if seen is None else ~seen[:, place]
            total = np.zeros_like(x)
            for bag, sample in enumerate(samples):  # summed as they come: all of them at once would leave the cache
                apart = self._apart(x, observed, sample, None if self.observed is None else self.observed[bag])
                total += apart if counted is None else np.multiply(apart, counted[bag][:, None], out=apart)
            total /= len(samples) if counted is None else counted.sum(0)[:, None]
            out[place] = self.columns.gather(total)
        return out

    def _apart(
        self, x: np.ndarray, observed: np.ndarray | None, sample: np.ndarray, known: np.ndarray | None
    ) -> np.ndarray:
        """Return the squared differences (m, d) of rows to the nearest of a sample; 0 where either has a gap."""
        if observed is None and known is None:
            nearest = ((sample**2).sum(1) - 2 * (x @ sample.T)).argmin(1)
            apart = sample[nearest]
            np.subtract(x, apart, out=apart)
            return np.multiply(apart, apart, out=apart)
        here = np.ones_like(x) if observed is None else observed.astype(np.float64)
        there = np.ones_like(sample) if known is None else known.astype(np.float64)
        common = here @ there.T
        apart = (x**2) @ there.T - 2 * (x @ sample.T) + here @ (sample**2).T
        apart = np.where(common > 0, apart / np.maximum(common, 1), np.inf)
        nearest = apart.argmin(1)
        both = here * there[nearest]
        return (x - sample[nearest]) ** 2 * both * (x.shape[1] / np.maximum(both.sum(1), 1))[:, None]
