"""What a representation of rows is worth: to a linear probe, to nearest neighbours, to the neighbourhoods of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.manifold import trustworthiness as trustworthiness_of
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from isthmus.errors import DataError
from isthmus.inference import map_rows
from isthmus.parts.principal import centre
from isthmus.parts.step import Batch

if TYPE_CHECKING:
    from isthmus.data.rows import Rows
    from isthmus.estimator import Autoencoder

MOST_CLASSES = 20
"""Whole numbers of more different values than these are predicted as numbers."""
PROBE_NEIGHBOURS = 5


class Target:
    """What a probe is to tell of each row, and which rows it learns from and is tested on.

    The credit of a tested row is 1 or 0 for classes; for numbers 1 - (y - y_hat)^2 / mean (y - mean of y)^2 over the tested
    rows, the mean being that of the rows learned from. Its mean is the accuracy, or R^2.
    """

    def __init__(self, y: Any, train: np.ndarray, test: np.ndarray) -> None:
        values = np.asarray(y)
        if values.ndim != 1:
            raise DataError(f"y has the shape {values.shape}; give one value a row.")
        missing = np.array([value is None or value != value for value in values.tolist()], bool)
        if missing.any():
            raise DataError(f"y has no value for row {int(missing.argmax())}; leave out the rows without one.")
        self.is_class = values.dtype.kind not in "iuf" or (
            values.dtype.kind in "iu" and len(np.unique(values)) <= MOST_CLASSES
        )
        self.values = values.astype(str) if values.dtype.kind == "O" else values
        self.train, self.test = train, test
        if len(np.unique(self.values[train])) < 2:
            raise DataError(
                f"y is {self.values[train][0]!r} for every row a probe learns from: there is nothing to tell."
            )

    @property
    def measure(self) -> str:
        """What the mean credit is called."""
        return "accuracy" if self.is_class else "R²"

    def linear(self, z: np.ndarray) -> np.ndarray:
        """Return the credit of each tested row under a linear model of standardised codes z (n, d)."""
        model = LogisticRegression(max_iter=500) if self.is_class else Ridge()
        return self._credit(make_pipeline(StandardScaler(), model), z)

    def neighbours(self, z: np.ndarray) -> np.ndarray:
        """Return the credit of each tested row under its five nearest neighbours among the codes z (n, d)."""
        count = min(PROBE_NEIGHBOURS, len(self.train))
        return self._credit(KNeighborsClassifier(count) if self.is_class else KNeighborsRegressor(count), z)

    def _credit(self, model: Any, z: np.ndarray) -> np.ndarray:
        y = self.values[self.test]
        guess = model.fit(z[self.train], self.values[self.train]).predict(z[self.test])
        if self.is_class:
            return (guess == y).astype(float)
        spread = np.square(y - self.values[self.train].mean()).mean()
        return 1 - np.square(y - guess) / max(spread, 1e-30)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def preserved(x: np.ndarray, z: np.ndarray, k: int) -> float:
    """Return the mean share of the k nearest rows in x (n, d) that are among the k nearest in z (n, m)."""
    sides = [NearestNeighbors(n_neighbors=k).fit(side).kneighbors(return_distance=False) for side in (x, z)]
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*sides, strict=True)]))


def trustworthiness(x: np.ndarray, z: np.ndarray, k: int) -> float:
    """Return how few of the k nearest in z are far away in x: 1 for none, about 1/2 for chance (Venna & Kaski 2001)."""
    return float(trustworthiness_of(x, z, n_neighbors=k))


def principal_codes(ae: Autoencoder, rows: Rows) -> np.ndarray:
    """Return rows along the principal components of the model's training rows, (n, k): PCA with as many numbers as its code."""
    floor = ae.principal_

    def code(batch: Batch) -> Tensor:
        seen = None if batch.observed is None else batch.observed.flatten(1)
        return centre(batch.x.flatten(1), seen, floor.mean.to(batch.x)) @ floor.directions.to(batch.x).T

    return map_rows(code, rows, ae.model_)


def in_data(ae: Autoencoder, rows: Rows) -> np.ndarray:
    """Return the scaled rows (n, d) as they are compared: less their mean, 0 at gaps."""
    x, observed = rows.take(slice(None))
    seen = None if observed is None else observed.flatten(1)
    return centre(x.flatten(1), seen, ae.principal_.mean.to(x)).numpy()
