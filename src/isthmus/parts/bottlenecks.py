"""Bottlenecks: how the width h of a network becomes a code z. Each owns its head, so networks and bottlenecks multiply."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import activation
from isthmus.parts.networks.linear import Linear
from isthmus.parts.part import Part
from isthmus.parts.step import Code, normal, per_sample


class Bottleneck(Part, ABC):
    """Map h to a code.

    ``head(h_shape, latent_dim) -> (Module, z_shape)`` builds the weights; ``bottleneck(head, h, rng) -> Code`` is the
    mathematics, where ``rng=None`` asks for the noise-free code.
    """

    is_distribution: ClassVar[bool]
    """Is the code a random variable with a prior? Then it can be drawn without data, and wants a likelihood beside it."""
    constrains: ClassVar[bool]
    """Does it hold a code that is as large as the input, so that copying is no solution?"""

    @property
    @abstractmethod
    def is_additive(self) -> bool:
        """May a linear map of the input simply be added to the code? Then it can carry the PCA floor."""

    @abstractmethod
    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]: ...

    @abstractmethod
    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code: ...

    @abstractmethod
    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """Draw (n, *z_shape) codes without data, where the code is a distribution."""


class VectorHead(nn.Module):
    """Flatten h and map it linearly to ``width`` numbers."""

    def __init__(self, h_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.linear = Linear(math.prod(h_shape), width)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h.flatten(1))  # (B, *h_shape) -> (B, width)


@dataclass
class Plain(Bottleneck):
    """A deterministic code: z = activation(W h + b). The identity keeps the geometry of PCA; "relu" makes exact zeros."""

    activation: str = "identity"
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = False

    @property
    def is_additive(self) -> bool:
        return self.activation == "identity"

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return nn.Sequential(VectorHead(h_shape, latent_dim), activation(self.activation)), (latent_dim,)

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        z = head(h)  # (B, latent_dim)
        return Code(z=z, embedding=z)

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        raise SettingError(
            "A Plain code has no prior to draw from; fit a variational autoencoder, isthmus.variational(..), to sample."
        )


@dataclass
class Gaussian(Bottleneck):
    """A code with a posterior: z = mu + sigma * N(0, 1), held near N(0, 1) by beta * KL (Kingma 2014; beta: Higgins 2017).

    The term "kl" is beta * 1/2 sum_j (mu_j^2 + sigma_j^2 - 1 - log sigma_j^2), in nats per sample; the embedding is mu.
    With ``warm_up`` > 0 the weight grows linearly over that share of the training, against early posterior collapse
    (Bowman 2016).
    """

    beta: float = 1.0
    warm_up: float = 0.0
    is_distribution: ClassVar[bool] = True
    constrains: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # the prior fixes the scale of the code; principal components have their own

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return VectorHead(h_shape, 2 * latent_dim), (latent_dim,)

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        mu, log_var = self.posterior(head, h)  # each (B, latent_dim)
        kl = 0.5 * per_sample(mu.square() + log_var.exp() - 1 - log_var)
        weight = self.beta if progress >= self.warm_up else self.beta * progress / self.warm_up
        z = mu if rng is None else mu + (0.5 * log_var).exp() * normal(mu, rng)
        return Code(z=z, embedding=mu, terms={"kl": weight * kl})

    def posterior(self, head: nn.Module, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | x), each (B, latent_dim)."""
        mu, log_var = head(h).chunk(2, dim=-1)
        # exp() of an unbounded number is how variational training overflows; e^-20 .. e^10 spans every useful variance.
        return mu, log_var.clamp(-20.0, 10.0)

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        return torch.randn(n, *z_shape, generator=rng, device=rng.device)  # N(0, 1)
