"""How codes are told apart: by the nearest centre, by a mixture of normal distributions, by density."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import softmax

from isthmus.chunks import chunks

CHUNK = 4096
STARTS = 10
FLOOR = 1e-3
"""What is added to variances of a mixture, as a share of the mean variance of the codes: equal codes have none."""


class Groups(Protocol):
    """What was learned of some codes: which group another belongs to."""

    name: str
    centres: np.ndarray
    """(k, d)"""

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Return the group of each code, (n,)."""
        ...

    def probabilities(self, codes: np.ndarray) -> np.ndarray | None:
        """Return how probable each group is, (n, k); None where the method knows no probability."""
        ...

    def arrays(self) -> dict[str, np.ndarray]: ...


class Centres:
    """The nearest of k centres (Lloyd 1982), which are those of k-means or of a refinement.

    With ``scale`` they know probabilities: q_k = (1 + |z - c_k|^2 / scale)^-1, divided by their sum (Xie 2016).
    """

    name = "kmeans"

    def __init__(self, centres: np.ndarray, scale: float | None = None) -> None:
        self.centres, self.scale = centres, scale

    @classmethod
    def fit(cls, codes: np.ndarray, k: int, seed: int) -> Centres:
        from sklearn.cluster import KMeans

        starts: Any = STARTS  # typed by its default, which is "auto"
        return cls(KMeans(k, n_init=starts, random_state=seed).fit(codes).cluster_centers_)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return self.squares(codes).argmin(1)

    def probabilities(self, codes: np.ndarray) -> np.ndarray | None:
        if self.scale is None:
            return None
        near = 1 / (1 + self.squares(codes) / self.scale)
        return near / near.sum(1, keepdims=True)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"centres": self.centres} | ({} if self.scale is None else {"scale": np.array([self.scale])})

    def squares(self, codes: np.ndarray) -> np.ndarray:
        """Return |z - c|^2, (n, k), number by number: the same bits for a code in any company."""
        return cdist(codes.astype(np.float64), self.centres.astype(np.float64), "sqeuclidean")


class Mixture:
    """A mixture of normal distributions with full covariances, fitted by expectation maximisation (Dempster 1977)."""

    name = "mixture"

    def __init__(self, weights: np.ndarray, centres: np.ndarray, precisions: np.ndarray) -> None:
        self.weights, self.centres, self.precisions = weights, centres, precisions
        """``precisions`` (k, d, d): P with P P^T the inverse of a covariance."""

    @classmethod
    def fit(cls, codes: np.ndarray, k: int, seed: int) -> Mixture:
        fitted = fit_mixture(codes, k, seed)
        return cls(fitted.weights_, fitted.means_, fitted.precisions_cholesky_)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return self._logs(codes).argmax(1)

    def probabilities(self, codes: np.ndarray) -> np.ndarray | None:
        return softmax(self._logs(codes), axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "centres": self.centres, "precisions": self.precisions}

    def _logs(self, codes: np.ndarray) -> np.ndarray:
        """Return log(weight * density) but for a constant, (n, k)."""
        columns = []
        for weight, centre, precision in zip(self.weights, self.centres, self.precisions, strict=True):
            squares = np.square(np.einsum("nd,de->ne", codes - centre, precision)).sum(1)
            columns.append(np.log(weight) + np.log(np.diagonal(precision)).sum() - squares / 2)
        return np.stack(columns, 1)


class Density:
    """Dense regions of any shape (HDBSCAN, Campello 2013); rows between them belong to none, -1.

    A new code belongs where the nearest known one does.
    """

    name = "hdbscan"

    def __init__(self, codes: np.ndarray, labels: np.ndarray, strengths: np.ndarray) -> None:
        self.codes, self.labels, self.strengths = codes, labels, strengths
        """``strengths`` (n,): how firmly each code belongs to its region, from 0 to 1."""
        found = [codes[labels == label].mean(0) for label in range(labels.max() + 1)]
        self.centres = np.array(found).reshape(-1, codes.shape[1])

    @classmethod
    def fit(cls, codes: np.ndarray, k: int, seed: int) -> Density:
        from sklearn.cluster import HDBSCAN

        own: Any = True  # typed by its default, which is "warn"
        fitted = HDBSCAN(min_cluster_size=max(5, len(codes) // 100), copy=own).fit(codes)
        return cls(codes, fitted.labels_, fitted.probabilities_)

    def predict(self, codes: np.ndarray) -> np.ndarray:
        return self.labels[self._nearest(codes)]

    def probabilities(self, codes: np.ndarray) -> np.ndarray | None:
        return None

    def strengths_of(self, codes: np.ndarray) -> np.ndarray:
        """Return how firmly each code belongs to its region, (n,)."""
        return self.strengths[self._nearest(codes)]

    def arrays(self) -> dict[str, np.ndarray]:
        return {"codes": self.codes, "labels": self.labels, "strengths": self.strengths}

    def _nearest(self, codes: np.ndarray) -> np.ndarray:
        found = [cdist(codes[place], self.codes, "sqeuclidean").argmin(1) for place in chunks(len(codes), CHUNK)]
        return np.concatenate(found)


METHODS: dict[str, Any] = {method.name: method for method in (Centres, Mixture, Density)}


def fit_mixture(codes: np.ndarray, k: int, seed: int, starts: int = 1) -> Any:
    """Return scikit-learn's mixture of k normal distributions on codes (n, d)."""
    from sklearn.mixture import GaussianMixture

    floor = max(FLOOR * float(codes.var(0).mean()), 1e-12)
    return GaussianMixture(k, reg_covar=floor, n_init=starts, max_iter=300, random_state=seed).fit(codes)
