"""How far a row lies from its nearest neighbour in small random samples of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from isthmus.apps.anomaly.bags import mean_over
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
        for place, x, observed in pieces(rows):
            found = np.stack([self._apart(bag, x.astype(np.float64), observed) for bag in range(len(self.samples))])
            out[place] = self.columns.gather(mean_over(found, None if seen is None else ~seen[:, place]))
        return out

    def _apart(self, bag: int, x: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
        """Return the squared, weighted differences (m, d) of rows to the nearest of one sample; 0 where either has a gap."""
        x, sample = x * self.weight, self.samples[bag] * self.weight
        if self.observed is None and observed is None:
            nearest = ((sample**2).sum(1) - 2 * (x @ sample.T)).argmin(1)
            return (x - sample[nearest]) ** 2
        here = np.ones_like(x) if observed is None else observed.astype(np.float64)
        there = np.ones_like(sample) if self.observed is None else self.observed[bag].astype(np.float64)
        common = here @ there.T
        apart = (x**2) @ there.T - 2 * (x @ sample.T) + here @ (sample**2).T
        apart = np.where(common > 0, apart / np.maximum(common, 1), np.inf)
        nearest = apart.argmin(1)
        both = here * there[nearest]
        return (x - sample[nearest]) ** 2 * both * (x.shape[1] / np.maximum(both.sum(1), 1))[:, None]
