"""Divergences: how far the codes of all samples together are from a prior, or from independence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.constants import constant
from isthmus.parts.penalties.penalty import Penalty
from isthmus.parts.step import Posterior, Step, normal

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Kernels of these widths are added up, so that codes far from the prior feel it as well as those near (Tolstikhin 2018)."""


@dataclass
class MMD(Penalty):
    """Penalise the distance of the codes from N(0, 1): weight * MMD^2, one number a batch (Gretton 2012; Tolstikhin 2018).

        MMD^2 = mean_{i != j} k(z_i, z_j) + mean_{i != j} k(p_i, p_j) - 2 mean_{i, j} k(z_i, p_j),  p ~ N(0, 1)

    is the unbiased estimate, which may be a little below 0; a batch of one sample has no pairs, and its sample stands beside
    itself. The kernel is a sum over s in 0.1 .. 10 of C / (C + |a - b|^2) ("imq", the inverse multiquadratic) or of
    exp(-|a - b|^2 / C) ("rbf"), where C = 2 d scale s; 2 d is the mean of |a - b|^2 between draws of a prior of d numbers.
    """

    weight: float = 100.0
    kernel: str = "imq"
    scale: float = 1.0

    @property
    def of_code_only(self) -> bool:
        return True

    def __call__(self, step: Step) -> Tensor:
        if self.kernel not in ("imq", "rbf"):
            raise SettingError(f"MMD(kernel={self.kernel!r}) is not known; use 'imq' or 'rbf'.")
        if self.scale <= 0:
            raise SettingError(f"MMD(scale={self.scale}) must be above 0; 1 fits a prior of N(0, 1).")
        z = step.code.z.flatten(1)  # (B, d)
        drawn = normal(z, step.rng)
        return self.weight * (self._within(z) + self._within(drawn) - 2 * self._similar(z, drawn).mean())

    def _within(self, codes: Tensor) -> Tensor:
        similar, n = self._similar(codes, codes), len(codes)
        return similar.mean() if n == 1 else (similar.sum() - similar.diagonal().sum()) / (n * (n - 1))

    def _similar(self, one: Tensor, other: Tensor) -> Tensor:
        """Return k between every two codes, (n, m)."""
        squared = (one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T).clamp(min=0)
        widths = constant(SCALES, squared)[:, None, None] * (2 * one.shape[1] * self.scale)
        each = widths / (widths + squared) if self.kernel == "imq" else (-squared / widths).exp()
        return each.sum(0)


@dataclass
class TotalCorrelation(Penalty):
    """Penalise what the numbers of a code say of each other: weight * (log q(z) - sum_k log q(z_k)), in nats (Chen 2018).

    q is the distribution of the codes of all rows, estimated from a batch by :func:`log_densities`. Beside a Gaussian code
    with beta = 1 this is the evidence lower bound with weight + 1 before the total correlation, which is one of the three
    parts of the mean KL:

        KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || prod_k q(z_k)) + sum_k KL(q(z_k) || p(z_k))
    """

    weight: float = 3.0

    @property
    def of_code_only(self) -> bool:
        return True

    def __call__(self, step: Step) -> Tensor:
        posterior = step.code.posterior
        if posterior is None:
            raise SettingError(
                "TotalCorrelation needs the posterior of a Gaussian code, which this bottleneck has not; use "
                "bottleneck='gaussian'."
            )
        together, each = log_densities(step.code.z, posterior, step.n_rows)
        return self.weight * (together - each.sum(1))


def log_densities(z: Tensor, posterior: Posterior, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return log q(z), (B,), and log q(z_k) of every number, (B, d), where q averages the posteriors of ``n_rows`` rows.

    A code's own row is one of the N rows, for certain; the other B - 1 rows of the batch stand for the other N - 1:

        q(z_i) = 1/N q(z_i | x_i) + (N - 1)/N * 1/(B - 1) sum_{j != i} q(z_i | x_j)

    which is unbiased, and exact where the batch holds all rows (the stratified estimate of Chen 2018, averaged over which
    row it singles out).
    """
    z, mu, log_var = z.flatten(1), posterior.mu.flatten(1), posterior.log_var.flatten(1)
    of_pairs = -0.5 * (
        (z[:, None] - mu).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)
    )  # (B, B, d): code i under the posterior of row j
    size = len(z)
    n_rows = max(n_rows, size) if size > 1 else 1  # a row alone stands for no others
    others = math.log((n_rows - 1) / (n_rows * (size - 1))) if size > 1 else 0.0
    weights = z.new_full((size, size), others).fill_diagonal_(-math.log(n_rows))
    return (of_pairs.sum(2) + weights).logsumexp(1), (of_pairs + weights[:, :, None]).logsumexp(1)
