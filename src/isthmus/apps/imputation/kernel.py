"""What is left of a column when the network has spoken, by kernel ridge regression (Saunders 1998) on landmarks.

f(x) = sum over landmarks z of w(z) k(x, z)    k(x, z) = exp(-|x - z|^2 / (2 s^2))

s^2 is the median squared distance of landmarks, which are rows (Nystroem's method; Williams & Seeger 2001): the cost grows with
rows and not with their cube, and what f says of a row without that row follows from the one fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

LANDMARKS = 500
MOST = 20_000
"""Rows that f is fitted to; of more it is told nothing, and each of those is one that it has not seen."""
RIDGE = 1.0
"""The variance of the noise, where that of f is 1."""
JITTER = 1e-4
"""Added to the diagonal of the kernel of the landmarks."""
ROWS = 4096
"""How many rows are compared with the landmarks at a time."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A fitted f."""

    landmarks: np.ndarray
    """(m, d) float32."""
    weights: np.ndarray
    """(m, c) float64."""
    unit: np.ndarray
    """(d,) what rows are multiplied by before they are compared."""
    spread: float
    """s^2."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return f of rows (n, d), (n, c)."""
        x = x * self.unit
        blocks = [
            gaussian(x[start : start + ROWS], self.landmarks, self.spread) @ self.weights
            for start in range(0, max(1, len(x)), ROWS)
        ]
        return np.concatenate(blocks)


def fit_kernel(
    x: np.ndarray, y: np.ndarray, unit: np.ndarray, seed: int, landmarks: int = LANDMARKS
) -> tuple[Kernel, np.ndarray]:
    """Fit f to rows (n, d) and what to say of them (n, c); return it, and what it says of each row without that row, (n, c)."""
    x, given = x * unit, x
    order = np.random.default_rng(seed).permutation(len(x))
    taught, near = order[:MOST], x[order[:landmarks]]
    distances = squared_distances(near, near)
    apart = distances[~np.eye(len(near), dtype=bool)]
    spread = float(np.median(apart)) if len(apart) else 1.0
    spread = spread or float(apart.mean()) or 1.0  # most rows are alike, or all are
    kernel = gaussian(near, near, spread).astype(np.float64)
    root = np.linalg.cholesky(kernel + JITTER * np.eye(len(kernel)))
    # in the basis in which the kernel of the landmarks is the identity, this is ridge regression
    basis = _solve(root, gaussian(near, x[taught], spread)).T.astype(np.float32)
    gram = np.linalg.cholesky((basis.T @ basis).astype(np.float64) + RIDGE * np.eye(len(kernel)))
    coefficients = cho_solve((gram, True), basis.T @ y[taught])
    leverage = np.square(_solve(gram.astype(np.float32), basis.T)).sum(0)[:, None]
    fitted = Kernel(near, solve_triangular(root, coefficients, lower=True, trans=1), unit, spread)
    alone = fitted.predict(given) if len(taught) < len(x) else np.zeros(y.shape)
    alone[taught] = y[taught] - (y[taught] - basis @ coefficients) / (1 - leverage)
    return fitted, alone


def _solve(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    return solve_triangular(root, right, lower=True, check_finite=False)


def gaussian(x: np.ndarray, z: np.ndarray, spread: float) -> np.ndarray:
    """Return k of every row of x (n, d) with every row of z (m, d), (n, m)."""
    return np.exp(squared_distances(x, z) / np.float32(-2 * spread))


def squared_distances(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return |x - z|^2 for rows (n, d) and (m, d), (n, m)."""
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(z).sum(1) - 2 * x @ z.T, 0)
