"""Principal components: the closed-form linear autoencoder, and the floor no default fit may fall through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

Chunk = tuple[Tensor, Tensor | None, Tensor | None]
"""x (b, d), observed (b, d) or None, weight (b,) or None."""

EXACT_WIDTH = 2048
"""Up to this many numbers a sample the covariance is formed whole; beyond it, a random projection finds the directions."""

AT_ONCE = 128
"""So many rows of the covariance are formed by one product."""


class Principal(NamedTuple):
    """The leading principal components of some rows."""

    mean: Tensor
    """(d,) mean of the observed values."""
    directions: Tensor
    """(k, d) orthonormal rows, by falling variance."""
    variances: Tensor
    """(k,) variance along each direction."""
    spread: Tensor
    """(d,) standard deviation of each number, over the rows in which it was observed."""

    total: float
    """The variance of all d numbers together, a gap counting as the mean: what ``variances`` are shares of."""

    def leading(self, k: int) -> Principal:
        return self._replace(directions=self.directions[:k], variances=self.variances[:k])

    def project(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the reconstruction of x (b, d) from its components; a gap counts as the mean."""
        centred = centre(x, observed, self.mean)
        return centred @ self.directions.T @ self.directions + self.mean


def centre(x: Tensor, observed: Tensor | None, mean: Tensor) -> Tensor:
    """Return x - mean, 0 at gaps: a gap counts as the mean."""
    centred = x - mean
    return centred if observed is None else torch.where(observed, centred, torch.zeros_like(centred))


def principal(
    chunks: Callable[[], Iterable[Chunk]], width: int, n_rows: int, k: int, rng: torch.Generator
) -> Principal:
    """Return the first ``k`` principal components; exact up to ``EXACT_WIDTH`` numbers, randomised beyond (Halko 2011).

    ``chunks`` is called once a pass and yields the rows; everything is accumulated in float64.
    """
    mean, seen = _mean(chunks, width)  # seen: the weight of the rows in which each number was observed
    k = min(k, width, n_rows)
    if width <= EXACT_WIDTH:
        scatter, rows = _scatter(chunks, mean)
        covariance, squares = scatter / max(rows, 1.0), scatter.diagonal()
        total = float(covariance.trace())
        values, vectors = torch.linalg.eigh(covariance, UPLO="U")
        directions, variances = vectors.flip(1).T[:k], values.flip(0)[:k].clamp(min=0)
    else:
        directions, variances, squares, rows = _randomised(chunks, mean, k, rng)
        total = float(squares.sum() / max(rows, 1.0))
    spread = (squares.clamp(min=0) / seen.clamp(min=1e-30)).sqrt()
    return Principal(mean.float(), _fix_signs(directions).float(), variances.float(), spread.float(), total)


def _mean(chunks: Callable[[], Iterable[Chunk]], width: int) -> tuple[Tensor, Tensor]:
    total, count = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for x, observed, weight in chunks():
        w = torch.ones(len(x), dtype=torch.float64) if weight is None else weight.double()
        if observed is None:
            total += w @ x.double()
            count += w.sum()
            continue
        seen = observed.double()
        total += w @ (x.double() * seen)
        count += w @ seen
    return total / count.clamp(min=torch.finfo(torch.float64).tiny), count


def _scaled(chunk: Chunk, mean: Tensor) -> tuple[Tensor, float]:
    """Return sqrt(weight) * (x - mean), in float64, and the sum of the weights."""
    x, observed, weight = chunk
    centred = centre(x.double(), observed, mean)
    if weight is None:
        return centred, float(len(x))
    return centred * weight.double().sqrt()[:, None], float(weight.double().sum())


def _scatter(chunks: Callable[[], Iterable[Chunk]], mean: Tensor) -> tuple[Tensor, float]:
    """Return the sum of the squares and products about the mean, on and above the diagonal, and that of the weights."""
    scatter, rows = torch.zeros(len(mean), len(mean), dtype=torch.float64), 0.0
    for chunk in chunks():
        centred, weight = _scaled(chunk, mean)
        for start in range(0, len(mean), AT_ONCE):  # what is below the diagonal is known
            some = slice(start, start + AT_ONCE)
            scatter[some, start:].addmm_(centred[:, some].T, centred[:, start:])
        rows += weight
    return scatter, rows


def _randomised(
    chunks: Callable[[], Iterable[Chunk]], mean: Tensor, k: int, rng: torch.Generator, passes: int = 4
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Subspace iteration: multiply a random basis by the covariance a few times, orthonormalising between (Halko 2011)."""
    width = len(mean)
    basis = torch.randn(width, min(k + 16, width), generator=rng, dtype=torch.float64)
    squares, rows = torch.zeros(width, dtype=torch.float64), 0.0
    for step in range(passes):
        basis = torch.linalg.qr(basis).Q
        product = torch.zeros_like(basis)
        for chunk in chunks():
            centred, weight = _scaled(chunk, mean)
            product += centred.T @ (centred @ basis)
            if step == 0:
                squares, rows = squares + centred.square().sum(0), rows + weight
        if step == passes - 1:  # Rayleigh-Ritz: rotate the basis to the axes of the covariance within it
            values, vectors = torch.linalg.eigh(basis.T @ product / max(rows, 1.0))
            basis = basis @ vectors.flip(1)
            return basis.T[:k], values.flip(0)[:k].clamp(min=0), squares, rows
        basis = product
    raise ValueError("passes must be at least 1")


def _fix_signs(directions: Tensor) -> Tensor:
    """Make the largest entry of each direction positive: eigenvectors are free up to a sign, codes should not be."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * torch.where(largest < 0, -1.0, 1.0)
