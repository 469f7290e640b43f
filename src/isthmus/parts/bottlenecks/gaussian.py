"""Gaussian codes: the posterior is a normal distribution, and so is the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.parts.bottlenecks.bottleneck import Bottleneck, Head
from isthmus.parts.step import Code, Posterior, normal, per_sample, ramp

CAPACITY_REACHED = 0.5
"""The share of the training over which the capacity of a code rises; the rest is spent at its full size."""


@dataclass
class Gaussian(Bottleneck):
    """A code with a posterior: z = mu + sigma * N(0, 1), held near N(0, 1) by beta * KL (Kingma 2014; beta: Higgins 2017).

    The term "kl" is beta * sum_j KL_j, where KL_j = 1/2 (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2), in nats per sample; the
    embedding is mu. Three remedies, all off by default, against a posterior that collapses onto the prior:

    * ``warm_up`` > 0: beta grows linearly from 0 over that share of the training (Bowman 2016).
    * ``free_bits`` > 0: max(KL_j, free_bits) in place of KL_j, for each number of each sample, so that the first so many nats
      of a number cost nothing (after Kingma 2016, who takes the maximum of the mean over the batch).
    * ``capacity`` > 0: beta * |sum_j KL_j - C|, where C grows linearly from 0 to so many nats over the first half of the
      training, so that a code gives way to the data piece by piece (Burgess 2018).
    """

    beta: float = 1.0
    warm_up: float = 0.0
    capacity: float = 0.0
    free_bits: float = 0.0
    is_distribution: ClassVar[bool] = True
    constrains: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # the prior fixes the scale of the code; principal components have their own

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return Head(h_shape, 2 * latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        mu, log_var = posterior = self.posterior(head, h)
        each = 0.5 * (mu.square() + log_var.exp() - 1 - log_var)
        kl = per_sample(each.clamp(min=self.free_bits) if self.free_bits else each)
        if self.capacity:
            kl = (kl - self.capacity * ramp(progress, CAPACITY_REACHED)).abs()
        weight = self.beta * ramp(progress, self.warm_up)
        z = mu if rng is None else mu + (0.5 * log_var).exp() * normal(mu, rng)
        return Code(z=z, embedding=mu, terms={"kl": weight * kl}, posterior=posterior)

    def posterior(self, head: nn.Module, h: Tensor) -> Posterior:
        """Return mean and log variance of q(z | x), each (B, latent_dim, *positions)."""
        mu, log_var = head(h).chunk(2, dim=1)
        # exp() of an unbounded number is how variational training overflows; e^-20 .. e^10 spans every useful variance.
        return Posterior(mu, log_var.clamp(-20.0, 10.0))

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return torch.randn(n, *z_shape, generator=rng, device=rng.device)  # N(0, 1)
