"""The linear answer: what a number is expected to be, given the columns drawn before it, and how far it strays.

value = b . (features, products of numbers, 1) + scale * t,  t of Student's distribution (Lange, Little & Taylor 1989)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from isthmus.apps.synthesis.coding import Coding

NU = 4.0
"""Degrees of freedom of the residuals: what is far off counts little."""
ROUNDS = 8
RIDGE = 0.1
MOST_ROWS = 20_000
MOST_PRODUCTS = 12
"""Products of so many numbers at most, the last ones drawn, which have the most values."""
LEAST_SCALE = 1e-4
"""Of the standard deviation of the column."""


class Linear(NamedTuple):
    """The linear answer of one number, in standard deviations from its mean."""

    weights: np.ndarray
    """(d,)"""
    scale: float


def design(coding: Coding, place: int, x: np.ndarray) -> np.ndarray:
    """Return what the linear answer of column ``place`` is made of, (n, d), from the features (n, p) of those before it."""
    offsets = coding.offsets
    kept, numbers = [], []
    for before, column in enumerate(coding.columns[:place]):
        start, end = offsets[before], offsets[before + 1]
        kept += [start, *([end - 1] if column.gaps else [])] if column.number else list(range(start, end))
        numbers += [start] if column.number else []
    z = x[:, numbers[-MOST_PRODUCTS:]].astype(np.float64)
    products = [z[:, [i]] * z[:, i:] for i in range(z.shape[1])]
    return np.concatenate([x[:, kept], *products, np.ones((len(x), 1))], axis=1, dtype=np.float64)


def fit_linear(d: np.ndarray, target: np.ndarray) -> Linear:
    """Fit t-distributed residuals by EM: regressions in which a row weighs the less, the farther off it is."""
    d, target = d[:MOST_ROWS], target[:MOST_ROWS]
    weight, scale = np.ones(len(target)), 1.0
    solved = np.zeros(d.shape[1])
    for _ in range(ROUNDS):
        gram = (d * weight[:, None]).T @ d
        gram[np.diag_indices_from(gram)] += RIDGE
        solved = np.linalg.solve(gram, d.T @ (weight * target))
        residual = target - d @ solved
        scale = max(float(np.sqrt(np.mean(weight * residual**2))), LEAST_SCALE)
        weight = (NU + 1) / (NU + (residual / scale) ** 2)
    return Linear(solved, scale)
