"""Deterministic codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.parts.bottlenecks.bottleneck import Bottleneck, Head
from isthmus.parts.networks.activations import Activated, activation
from isthmus.parts.step import Code


@dataclass
class Plain(Activated, Bottleneck):
    """A deterministic code: z = activation(W h + b). The identity keeps the geometry of PCA; "relu" makes exact zeros."""

    activation: str = "identity"
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = False

    @property
    def is_additive(self) -> bool:
        return self.activation == "identity"

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return nn.Sequential(Head(h_shape, latent_dim), activation(self.activation)), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        z = head(h)  # (B, latent_dim)
        return Code(z=z, embedding=z)

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None


@dataclass
class Bare(Bottleneck):
    """No head at all: the code is what the encoder's network ends in, z = h, and ``latent_dim`` is read off it."""

    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = False

    @property
    def is_additive(self) -> bool:
        return False  # the network's last layer is its own, activation and all

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return nn.Identity(), h_shape

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        return Code(z=h, embedding=h)

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None
