"""The closed-form linear answer: an autoencoder whose code are principal components, each shrunk by how noisy it is.

y = x + sigma * noise, x ~ N(mean, C):   E[x | y] = mean + C (C + sigma^2 I)^-1 (y - mean)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from isthmus.chunks import chunk_rows, chunks

_LEVELS = 48
_TINY = 1e-6
_MOST_FACTORS = 80
_ROUNDS, _SLACK = 8, 0.03


class Prior(NamedTuple):
    """What clean rows are like as far as a linear answer can know: their mean and principal components."""

    mean: Tensor
    """(d,)"""
    basis: Tensor
    """(d, d) the principal directions as columns."""
    variance: Tensor
    """(d,) of the clean rows along each, smallest first."""

    def restore(self, y: Tensor, level: Tensor) -> Tensor:
        """Return E[x | y] for rows (n, d) with noise of the standard deviation ``level`` (n, 1)."""
        code = (y - self.mean) @ self.basis
        return torch.addmm(self.mean, code * (self.variance / (self.variance + level.square())), self.basis.T)

    def level(self, y: Tensor, pooled: bool) -> Tensor:
        """Return (n, 1) the noise level under which each row is most probable; ``pooled``: all rows together.

        -2 log p(y) = sum_i log(v_i + s^2) + a_i^2 / (v_i + s^2), on a grid of s, with a parabola through the best three.
        """
        top = (y - self.mean).square().mean().sqrt().clamp_min(1e-6).item()
        grid = torch.logspace(-3, 0, _LEVELS) * 1.5 * top
        spread = self.variance[:, None] + grid.square()  # (d, levels)
        code = (y - self.mean) @ self.basis
        surprise = code.square() @ (1 / spread) + spread.log().sum(0)  # (n, levels)
        surprise = surprise.mean(0, keepdim=True).expand(len(y), -1) if pooled else surprise
        best = surprise.argmin(1, keepdim=True)
        middle = best.clamp(1, _LEVELS - 2)
        left, here, right = (surprise.gather(1, middle + step) for step in (-1, 0, 1))
        bend = (left - 2 * here + right).clamp_min(1e-12)
        offset = torch.where(middle == best, ((left - right) / (2 * bend)).clamp(-0.5, 0.5), (best - middle).float())
        step = grid[1].log() - grid[0].log()
        return (grid[0].log() + (middle + offset) * step).exp()


class Regression(NamedTuple):
    """The linear answer to noise that is not Gaussian: ridge regression of clean rows on spoiled ones."""

    mean_in: Tensor
    mean_out: Tensor
    """(d,) of the spoiled and of the clean rows; a number that is not observed counts as its mean."""
    matrix: Tensor
    """(d, d)"""

    def restore(self, y: Tensor, observed: Tensor | None) -> Tensor:
        """Return the regression of clean rows on spoiled ones, (n, d)."""
        return torch.addmm(self.mean_out, centred(y, observed, self.mean_in), self.matrix)


@dataclass(frozen=True, eq=False)
class Gaps:
    """The linear answer where numbers are missing: the conditional mean of a factor model, given whatever is observed.

    x = mean + W z + noise:   E[z | observed o] = (I + sum_o w_i w_i' / u_i)^-1 sum_o w_i (x_i - mean_i) / u_i

    A few rounds of x <- mean + C (C + t I)^-1 (x - mean), with what is observed put back before each, add what a few factors
    leave out: they lead to the conditional mean under the whole covariance C, which to solve for every row would take its cube.
    """

    mean: Tensor
    weights: Tensor
    """(d, rank)"""
    unique: Tensor
    """(d,) the variance u of what factors do not explain."""
    smoother: Tensor
    """(d, d) C (C + t I)^-1"""

    @cached_property
    def _products(self) -> Tensor:
        weighted = self.weights / self.unique[:, None]
        return (weighted[:, :, None] * self.weights[:, None]).flatten(1)  # (d, rank * rank)

    def restore(self, y: Tensor, observed: Tensor) -> Tensor:
        """Return the conditional mean (n, d) of every number; of observed ones too, as others say they should be."""
        rank = self.weights.shape[1]
        precision = (observed.to(y.dtype) @ self._products).view(-1, rank, rank) + torch.eye(rank)
        pull = (centred(y, observed, self.mean) / self.unique) @ self.weights
        code = torch.cholesky_solve(pull[:, :, None], torch.linalg.cholesky(precision))[:, :, 0]
        away, given = code @ self.weights.T, y - self.mean
        for _ in range(_ROUNDS):
            away = torch.where(observed, given, away) @ self.smoother
        return self.mean + away


Linear: TypeAlias = Prior | Regression | Gaps


def learn_gaps(parts: Sequence[tuple[Tensor, float]]) -> Gaps:
    """Learn the factor model from clean rows: their principal components, less what no factor explains."""
    prior = learn_prior(parts)
    width = len(prior.mean)
    rank = min(_MOST_FACTORS, max(1, width // 2))
    rest = prior.variance[: width - rank].mean() if width > rank else prior.variance[:0].sum()
    weights = prior.basis[:, width - rank :] * (prior.variance[width - rank :] - rest).clamp_min(0).sqrt()
    total = prior.basis.square() @ prior.variance
    unique = (total - weights.square().sum(1)).clamp_min(1e-3 * float(total.mean()) + 1e-9)
    keep = prior.variance / (prior.variance + _SLACK * prior.variance.mean())
    return Gaps(prior.mean, weights.contiguous(), unique, (prior.basis * keep) @ prior.basis.T)


def learn_prior(parts: Sequence[tuple[Tensor, float]]) -> Prior:
    """Learn mean and covariance of clean rows: parts (n, d), each with its share of the covariance."""
    mean: Tensor = sum((share * x.mean(0, dtype=torch.float64) for x, share in parts), start=torch.zeros(()))
    covariance = sum((share * _scatter(x, mean) for x, share in parts), start=torch.zeros(()))
    variance, basis = torch.linalg.eigh(covariance)
    return Prior(
        mean.float(), basis.float().contiguous(), variance.clamp_min(_TINY * float(variance[-1]) + 1e-12).float()
    )


def learn_noisy_prior(parts: Sequence[tuple[Tensor, float]], sigma: float) -> Prior:
    """Learn it from noisy rows: cov(y) - sigma^2 I, without what n rows of mere noise would show.

    An eigenvalue of the noise alone is spread over sigma^2 (1 +- sqrt(d / n))^2 (Marchenko & Pastur 1967); those above that
    are inflated by a known amount, which is undone (Baik & Silverstein 2006).
    """
    prior = learn_prior(parts)
    n = sum(len(x) for x, _ in parts)
    spiked = unspiked(prior.variance / sigma**2, prior.variance.numel() / n)
    return prior._replace(variance=(spiked * sigma**2).clamp_min(1e-12))


def unspiked(ratio: Tensor, aspect: float) -> Tensor:
    """Return signal variances from sample eigenvalues, both in units of the noise's; ``aspect`` = d / n.

    The sample eigenvalue of a signal l is (1 + l)(1 + aspect / l) where l > sqrt(aspect), and drowns below.
    """
    excess = ratio - 1 - aspect
    signal = (excess + (excess.square() - 4 * aspect).clamp_min(0).sqrt()) / 2
    return torch.where(ratio > (1 + aspect**0.5) ** 2, signal, torch.zeros(()))


def learn_regression(clean: Tensor, spoiled: Tensor, observed: Tensor | None) -> Regression:
    """Regress clean rows on spoiled ones (n, d), with a ridge as strong as one row in a thousand of noise."""
    count = torch.full((clean.shape[1],), float(len(clean))) if observed is None else observed.sum(0).clamp_min(1)
    seen = spoiled if observed is None else spoiled * observed
    mean_in = (seen.sum(0, dtype=torch.float64) / count).float()
    mean_out = clean.mean(0, dtype=torch.float64).float()
    width = clean.shape[1]
    inner = cross = torch.zeros(width, width, dtype=torch.float64)
    for rows in chunks(len(clean), chunk_rows(width)):
        a = centred(spoiled[rows], None if observed is None else observed[rows], mean_in)
        inner = inner + (a.T @ a).double()
        cross = cross + (a.T @ (clean[rows] - mean_out)).double()
    ridge = 1e-3 * inner.diagonal().mean() + 1e-12
    matrix = torch.linalg.solve(inner + ridge * torch.eye(width, dtype=torch.float64), cross)
    return Regression(mean_in, mean_out, matrix.float().contiguous())


def centred(y: Tensor, observed: Tensor | None, mean: Tensor) -> Tensor:
    """Return y - mean, 0 where nothing is observed."""
    return y - mean if observed is None else (y - mean) * observed


def _scatter(x: Tensor, mean: Tensor) -> Tensor:
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for rows in chunks(len(x), chunk_rows(x.shape[1])):
        away = x[rows] - mean.float()
        total += (away.T @ away).double()
    return total / len(x)
