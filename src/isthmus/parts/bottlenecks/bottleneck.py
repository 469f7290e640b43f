"""The bottleneck: how the width h of a network becomes a code z."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.parts.networks.linear import Linear
from isthmus.parts.part import Part
from isthmus.parts.step import Code, Step


class Bottleneck(Part, ABC):
    """Map h to a code.

    ``head(h_shape, latent_dim) -> (Module, z_shape)`` builds the weights; ``bottleneck(head, h, rng) -> Code`` is the
    mathematics, where ``rng=None`` asks for the noise-free code.

    Dimension 1 of h and z are the channels. A network that gives one vector gives h (B, width) and the code is
    (B, latent_dim); one that keeps its place gives a map (B, channels, *positions), and the code is a map
    (B, latent_dim, *positions) on which every bottleneck works position by position.
    """

    is_distribution: ClassVar[bool]
    """Is the code a random variable with a prior? Then it can be drawn without data, and wants a likelihood beside it."""
    constrains: ClassVar[bool]
    """Does it hold a code that is as large as the input, so that copying is no solution?"""
    is_rounded: ClassVar[bool] = False
    """Is the code rounded, or cut at a threshold that learns, so that its gradient is a decree and not a derivative?"""
    fewest: ClassVar[int] = 1
    """The smallest latent_dim it can make a code of."""

    @property
    @abstractmethod
    def is_additive(self) -> bool:
        """May a linear map of the input simply be added to the code? Then it can carry the PCA floor."""

    @abstractmethod
    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]: ...

    @abstractmethod
    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code: ...

    @abstractmethod
    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        """Draw (n, *z_shape) codes without data; None where the code is no distribution."""


class Auxiliary(ABC):
    """What a bottleneck is, besides, when it asks something of the whole step: a term that needs the decoder."""

    @abstractmethod
    def auxiliary(self, head: nn.Module, step: Step) -> dict[str, Tensor]:
        """Return terms by name, each (B,) or (); asked for during training only, as penalties are."""


class Discrete(ABC):
    """What a bottleneck is, besides, whose codes are counted: ``Code.indices`` says which values a code is made of."""

    @abstractmethod
    def sizes(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many values each column of the indices may take."""


class Head(nn.Module):
    """A linear map of the channels, the same at every position: (B, inside, *positions) -> (B, outside, *positions)."""

    def __init__(self, h_shape: tuple[int, ...], width: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = Linear(h_shape[0], width, bias)

    def forward(self, h: Tensor) -> Tensor:
        if h.dim() == 2:
            return self.linear(h)  # (B, inside) -> (B, outside)
        return self.linear(h.movedim(1, -1)).movedim(-1, 1)


def broadcast(values: Tensor, z: Tensor) -> Tensor:
    """Return (k,) as (k, 1, ..), so that it meets the channels of z (B, k, *positions)."""
    return values.view(-1, *[1] * (z.dim() - 2))


def size(z_shape: tuple[int, ...]) -> int:
    """Return how many numbers a code has."""
    return math.prod(z_shape)
