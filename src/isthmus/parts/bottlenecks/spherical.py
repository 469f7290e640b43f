"""Codes on the unit sphere: the posterior is a power spherical distribution, the prior is uniform."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Bottleneck, Head
from isthmus.parts.step import Code, normal, per_sample

AT_FIRST = 3.0
"""The concentration a new network gives, times d: so sure of itself from the start that the decoder has something to learn."""
LEAST_SURE = 0.01
MOST_SURE = 1e4
"""Beyond a concentration of so much a code is a point, and float32 has no digits left to tell it from one."""


@dataclass
class Spherical(Bottleneck):
    """A code that is a direction: z on the unit sphere of R^d, near mu (Davidson 2018; De Cao & Aziz 2020).

    The posterior is power spherical, of the density (1 + mu . z)^kappa / N: mu . z = 2 b - 1 with
    b ~ Beta((d - 1)/2 + kappa, (d - 1)/2), and around mu z is uniform. The term "kl" is beta * KL to the uniform prior, in
    nats per sample; the embedding is mu. On a map every position has a direction of its own.
    """

    beta: float = 1.0
    is_distribution: ClassVar[bool] = True
    constrains: ClassVar[bool] = True
    fewest: ClassVar[int] = 2

    @property
    def is_additive(self) -> bool:
        return False  # a sum of directions is none

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        if latent_dim < self.fewest:
            raise SettingError(
                f"latent_dim={latent_dim} leaves a Spherical code two points to be at, +1 and -1; use at least 2."
            )
        return Head(h_shape, latent_dim + 1), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        mu, kappa = self.posterior(head, h)
        kl = self.beta * per_sample(divergence(kappa, mu.shape[1]))
        z = mu if rng is None else self._drawn(mu, kappa, rng)
        return Code(z=z, embedding=mu, terms={"kl": kl})

    def posterior(self, head: nn.Module, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean direction (B, d, *positions) and the concentration kappa (B, 1, *positions) of q(z | x)."""
        values = head(h)
        mu, log_kappa = values[:, :-1], values[:, -1:] + math.log(AT_FIRST * (values.shape[1] - 1))
        kappa = log_kappa.clamp(math.log(LEAST_SURE), math.log(MOST_SURE)).exp()
        return F.normalize(mu, dim=1, eps=1e-6), kappa

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return F.normalize(torch.randn(n, *z_shape, generator=rng, device=rng.device), dim=1)

    def _drawn(self, mu: Tensor, kappa: Tensor, rng: torch.Generator) -> Tensor:
        """Draw around the first axis, then turn that axis to mu by a reflection."""
        half = (mu.shape[1] - 1) / 2
        # b = up / (up + down) is a Beta; its gradient is that of the two gamma variables, by implicit differentiation.
        up = _gamma(half + kappa, rng)
        down = _gamma(torch.full_like(kappa, half), rng)
        along = (up - down) / (up + down)
        across = 2 * (up * down).sqrt() / (up + down)  # sqrt(1 - along^2), without what cancels in it
        around = F.normalize(normal(mu[:, 1:], rng), dim=1)
        drawn = torch.cat([along, across * around], dim=1)
        axis = torch.zeros_like(mu)
        axis[:, 0] = 1
        mirror = F.normalize(axis - mu, dim=1)
        return drawn - 2 * mirror * (mirror * drawn).sum(1, keepdim=True)


def divergence(kappa: Tensor, d: int) -> Tensor:
    """Return KL(power spherical || uniform) on the unit sphere of R^d, in nats, elementwise: log area - entropy.

    entropy = log N - kappa (log 2 + psi(a) - psi(a + b)),  a = b + kappa,  b = (d - 1)/2
    log N = (a + b) log 2 + b log pi + lgamma(a) - lgamma(a + b),  area = 2 pi^(d/2) / Gamma(d/2)
    """
    exact = kappa.double()  # large log gammas cancel
    b = (d - 1) / 2
    a, both = b + exact, 2 * b + exact
    normaliser = both * math.log(2) + b * math.log(math.pi) + torch.lgamma(a) - torch.lgamma(both)
    entropy = normaliser - exact * (math.log(2) + torch.digamma(a) - torch.digamma(both))
    area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    return (area - entropy).to(kappa)


def _gamma(shape: Tensor, rng: torch.Generator) -> Tensor:
    """Draw gamma variables of the given shapes, at least in float32; torch's public sampler takes no generator."""
    exact = shape.to(torch.promote_types(shape.dtype, torch.float32))
    return torch._standard_gamma(exact, generator=rng)  # pyright: ignore[reportPrivateImportUsage]
