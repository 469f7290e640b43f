"""How many groups there are, and how firmly the answer stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import combinations

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score

from isthmus.apps.clustering.groups import Groups, fit_mixture

MOST, PATIENCE = 30, 3
"""At most so many groups are tried; the search ends when so many numbers in a row were no better than the best."""
MOST_ROWS, MOST_NUMBERS = 5000, 16
"""A random sample of the rows, and the leading principal components of longer codes, are enough to choose by."""
SEEDS = 5


def bic_of(codes: np.ndarray, seed: int) -> dict[int, float]:
    """Return the Bayesian information criterion of mixtures of 1, 2, .. normal distributions with full covariances.

    BIC = -2 log likelihood + parameters * log n (Schwarz 1978); least is best. Every group needs as many rows as it has
    numbers, and five more.
    """
    sample = leading(_some(codes, MOST_ROWS, seed), MOST_NUMBERS)
    found: dict[int, float] = {}
    for k in range(1, min(MOST, len(sample) // (sample.shape[1] + 5)) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # slow last steps change no choice
            found[k] = float(fit_mixture(sample, k, seed).bic(sample))
        if k - min(found, key=found.__getitem__) >= PATIENCE:
            break
    return found or {1: 0.0}


def stability_of(codes: np.ndarray, fit: Callable[[np.ndarray, int], Groups], seed: int) -> float:
    """Return the mean adjusted Rand index between groupings by other seeds of other random halves (Ben-Hur 2002).

    Each half is grouped on its own and tells all rows where they belong: 1 means the same groups every time, 0 as much
    agreement as chance has.
    """
    rng = np.random.default_rng(seed)
    labels = []
    for number in range(SEEDS):
        half = np.sort(rng.permutation(len(codes))[: (len(codes) + 1) // 2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels.append(fit(codes[half], seed + number).predict(codes))
    return float(np.mean([adjusted_rand_score(a, b) for a, b in combinations(labels, 2)]))


def silhouette_of(codes: np.ndarray, labels: np.ndarray, seed: int) -> float | None:
    """Return the mean silhouette (Rousseeuw 1987) of a sample of the rows that belong to a group; None for a single group."""
    inside = labels >= 0
    chosen = _some(np.flatnonzero(inside), MOST_ROWS // 2, seed)
    if not 2 <= len(np.unique(labels[chosen])) < len(chosen):
        return None
    return float(silhouette_score(codes[chosen], labels[chosen]))


def leading(codes: np.ndarray, most: int) -> np.ndarray:
    """Return the leading principal components of codes (n, d), at most ``most``; shorter codes as they are."""
    if codes.shape[1] <= most:
        return codes
    centred = codes - codes.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return centred @ directions[:, ::-1][:, :most]


def _some(values: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(values) <= most:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), most, replace=False))]
