"""Mixtures of Gaussians by expectation maximisation (Dempster 1977); each half of a step is one matrix product.

The log density of a component is linear in the products x_i x_j, the x_i and 1, called terms here: for all rows and components
together it is terms (n, t) @ coefficients (t, k). The next mixture, in turn, is made of how much of each term every component
answers for: responsibilities (n, k)^T @ terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

STEPS, ENOUGH = 30, 1e-3
"""Steps at most, and the gain of the mean log density, in nats, below which there are no more: samples are as good as they get
long before the last digit stands still."""
ROUNDS = 10
"""Rounds of k-means, which says where to start."""
FEWEST = 1e-12
"""Rows that a component counts as at least: one that answers for none dies out, in numbers that can be divided by."""
MOST_TERMS = 1 << 17
"""Terms that are looked at at once: about as many as a cache holds."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A mixture of k Gaussians in d numbers."""

    weights: Tensor
    """(k,)"""
    means: Tensor
    """(k, d)"""
    factors: Tensor
    """(k, d, d) lower Cholesky factors of the covariances, or (k, d) standard deviations where numbers are independent."""

    @property
    def is_full(self) -> bool:
        """Do numbers depend on each other within a component?"""
        return self.factors.dim() == 3

    def log_density(self, x: Tensor) -> Tensor:
        """Return log p(x) of rows (n, d), (n,) float64 in nats."""
        return (_terms(x.double() - self._middle, self.is_full) @ self._coefficients).logsumexp(1)

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Return ``n`` rows (n, d), in no order."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, self.means.shape[1], generator=rng, device=rng.device)
        own = self.factors[which]
        return self.means[which] + ((own @ noise[:, :, None])[:, :, 0] if self.is_full else own * noise)

    def moved(self, by: Tensor) -> Gaussians:
        """Return the same mixture elsewhere, in float64."""
        return Gaussians(self.weights.double(), self.means.double() + by, self.factors.double())

    @cached_property
    def _middle(self) -> Tensor:
        """(d,) the mean: far from it, terms are large and their differences, which count, are lost."""
        return self.weights.double() @ self.means.double()

    @cached_property
    def _coefficients(self) -> Tensor:
        return _coefficients(self.moved(-self._middle))


def fitted(x: Tensor, k: int, is_full: bool, least: float, seed: int, start: Gaussians | None = None) -> Gaussians:
    """Return k Gaussians (float64) under which rows (n, d) are likely, from ``start`` on or from the clouds of k-means.

    ``least`` is added to every variance.
    """
    middle = x.double().mean(0)
    x = x.double() - middle
    found = _clouds(x, k, is_full, least, seed) if start is None else start.moved(-middle)
    before = -math.inf
    for _ in range(STEPS):
        found, likely = _step(x, found, least)
        if likely - before < ENOUGH:
            break
        before = likely
    return found.moved(middle)


def _step(x: Tensor, found: Gaussians, least: float) -> tuple[Gaussians, float]:
    """Return the next mixture, and the mean log density of the rows under this one."""
    coefficients = _coefficients(found)
    moments, likely = torch.zeros_like(coefficients.T), 0.0
    for rows in x.split(_rows_at_once(len(coefficients))):
        terms = _terms(rows, found.is_full)
        each = terms @ coefficients
        density = each.logsumexp(1, keepdim=True)
        moments += (each - density).exp().T @ terms
        likely += float(density.sum())
    return _likeliest(moments, found.is_full, x.shape[1], least), likely / len(x)


def _clouds(x: Tensor, k: int, is_full: bool, least: float, seed: int) -> Gaussians:
    """Return a component for each cloud that k-means finds (Arthur & Vassilvitskii 2007)."""
    from sklearn.cluster import KMeans  # a second to import, for a use that most programs do not have

    found = KMeans(k, max_iter=ROUNDS, random_state=seed % 2**32).fit(x.cpu().numpy())
    labels = torch.from_numpy(found.labels_).long().to(x.device)
    moments = x.new_zeros(k, _terms(x[:1], is_full).shape[1])
    size = _rows_at_once(moments.shape[1])
    for rows, own in zip(x.split(size), labels.split(size), strict=True):
        moments.index_add_(0, own, _terms(rows, is_full))
    return _likeliest(moments, is_full, x.shape[1], least)


def _likeliest(moments: Tensor, is_full: bool, d: int, least: float) -> Gaussians:
    """Return the mixture of largest likelihood where components answer for so much of each term, (k, t)."""
    count = moments[:, -1].clamp(min=FEWEST)
    mean = moments[:, -1 - d : -1] / count[:, None]
    if not is_full:
        variance = (moments[:, :d] / count[:, None] - mean.square()).clamp(min=0) + least
        return Gaussians(count / count.sum(), mean, variance.sqrt())
    i, j = torch.triu_indices(d, d)
    covariance = moments.new_empty(len(count), d, d)
    covariance[:, i, j] = covariance[:, j, i] = moments[:, : len(i)] / count[:, None] - mean[:, i] * mean[:, j]
    covariance.diagonal(dim1=1, dim2=2).add_(least)
    return Gaussians(count / count.sum(), mean, torch.linalg.cholesky(covariance))


def _terms(x: Tensor, is_full: bool) -> Tensor:
    """Return products of two numbers (squares alone unless ``is_full``), numbers and 1 of each row, (n, t)."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1]) if is_full else 2 * (torch.arange(x.shape[1]),)
    return torch.cat([x[:, i] * x[:, j], x, x.new_ones(len(x), 1)], 1)


def _coefficients(mixture: Gaussians) -> Tensor:
    """Return what the terms count in the log of weight times density of each component, (t, k)."""
    factors, means = mixture.factors, mixture.means
    if mixture.is_full:
        precision = torch.cholesky_inverse(factors)
        i, j = torch.triu_indices(*precision.shape[1:])
        quadratic = precision[:, i, j] * torch.where(i == j, -0.5, -1.0).to(precision)
        linear, deviations = (precision @ means[:, :, None])[:, :, 0], factors.diagonal(dim1=1, dim2=2)
    else:
        quadratic, linear, deviations = -0.5 / factors.square(), means / factors.square(), factors
    constant = mixture.weights.log() - deviations.log().sum(1) - 0.5 * (means * linear).sum(1)
    constant -= 0.5 * means.shape[1] * math.log(2 * math.pi)
    return torch.cat([quadratic, linear, constant[:, None]], 1).T


def _rows_at_once(terms: int) -> int:
    return max(1, MOST_TERMS // terms)
