"""Bags: halves of the rows, so that every row is judged by models that have not seen it."""

from __future__ import annotations

import numpy as np


def halves(positions: np.ndarray, bags: int, most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return ``bags`` (an even number) random halves of ``positions``, two and two complementary, sorted.

    Each position lies in half of the bags at most: what the others say of its row is out of bag (Breiman 1996). All are
    equally large: of an odd number one is left out, and a half of more than ``most`` keeps a random ``most``.
    """
    chosen = []
    for _ in range(bags // 2):
        order = rng.permutation(positions)
        size = max(1, len(order) // 2)
        chosen += [np.sort(half[:most]) for half in (order[:size], order[-size:])]
    return chosen


def seen(bags: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Return (bags, n_rows) bool: which rows lie in which bag."""
    inside = np.zeros((len(bags), n_rows), bool)
    for place, bag in enumerate(bags):
        inside[place, bag] = True
    return inside


def mean_over(values: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """Return the mean over bags of ``values`` (bags, n, ...), of those ``counted`` (bags, n) where given."""
    if counted is None:
        return values.mean(0)
    weight = counted.reshape(*counted.shape, *[1] * (values.ndim - 2))
    return (values * weight).sum(0) / weight.sum(0)
