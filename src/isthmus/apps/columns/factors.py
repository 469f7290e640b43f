"""The linear answer: factor analysis of a table with gaps, fitted by EM, and what it expects in every gap.

y = mean + W z + noise,  z ~ N(0, I),  noise ~ N(0, diag(psi));  only observed cells enter (Little & Rubin 2019, ch. 8 and 11).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDS = 40
RIDGE = 0.01
"""Added to the second moments of the factors: a column seen once or twice has no loadings of its own."""
LEAST_NOISE = 0.01
"""Of the variance of a column."""


class Factors(NamedTuple):
    """A factor analysis for each member; standardised cells in, standardised cells out."""

    weights: Tensor
    """(K, p, r)."""
    noise: Tensor
    """(K, p), variances."""


def fit_factors(y: Tensor, observed: Tensor, rank: int, rng: torch.Generator) -> Factors:
    """Fit one factor analysis by EM to standardised cells (n, p), 0 at gaps, with observed (n, p) 0 or 1."""
    width = y.shape[1]
    weights = torch.randn(width, rank, generator=rng) * 0.3
    noise = torch.ones(width)
    counts = observed.sum(0).clamp_min(1)
    eye = torch.eye(rank)
    for _ in range(ROUNDS):
        precision, moved = _posterior(y, observed, weights, noise)
        covariance = torch.linalg.inv(precision)  # (n, r, r)
        z = torch.einsum("nij,nj->ni", covariance, moved)
        second = covariance + z[:, :, None] * z[:, None, :]
        total = (observed.T @ second.flatten(1)).view(width, rank, rank) + RIDGE * eye
        weights = torch.linalg.solve(total, (y.T @ z)[:, :, None])[:, :, 0]
        spread = covariance.flatten(1) @ (weights[:, :, None] * weights[:, None, :]).flatten(1).T
        noise = ((((y - z @ weights.T) ** 2 + spread) * observed).sum(0) / counts).clamp_min(LEAST_NOISE)
    return Factors(weights[None], noise[None])


def expect(factors: Factors, y: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return E[z | observed] (K, B, r) and the cells (K, B, p): as observed, or as expected."""
    weights, noise = factors
    rank = weights.shape[2]
    scaled = weights / noise[:, :, None]
    gram = (scaled[:, :, :, None] * weights[:, :, None, :]).flatten(2)  # (K, p, r r)
    precision = (observed @ gram).view(*observed.shape[:2], rank, rank) + torch.eye(rank)
    z = torch.linalg.solve(precision, (y * observed) @ scaled)
    return z, torch.where(observed > 0, y, z @ weights.mT)


def _posterior(y: Tensor, observed: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return precision (n, r, r) of the factors of each row, and precision times mean (n, r)."""
    rank = weights.shape[1]
    scaled = weights / noise[:, None]
    gram = (scaled[:, :, None] * weights[:, None, :]).flatten(1)
    return (observed @ gram).view(-1, rank, rank) + torch.eye(rank), y @ scaled
