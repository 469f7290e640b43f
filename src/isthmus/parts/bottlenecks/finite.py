"""Codes of few values a number, without a codebook: finite scalars, and bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Bottleneck, Discrete, Head, broadcast
from isthmus.parts.constants import constant
from isthmus.parts.step import Code

SLACK = 1e-3
"""How much wider than its levels tanh is stretched, so that the outermost levels are reached by finite numbers."""


@dataclass
class FiniteScalar(Bottleneck, Discrete):
    """A code whose numbers take few values: tanh of h in equal steps, rounded straight through; no codebook (Mentzer 2024).

    A number of L levels is b = (1 + s) (L - 1)/2 * tanh(h + a) - o, then round(b) / floor(L / 2), with o = 1/2 for even L and
    0 for odd, and a such that h = 0 gives 0. So an odd L gives -1 .. 1, an even one -1 .. 1 - 2/L, in equal steps.

    ``levels`` is one number for all numbers of a code, or a tuple with one each, such as (8, 5, 5, 5): the code then has
    as many numbers as the tuple, whatever ``latent_dim`` says; a tuple of one is one for all. ``Code.indices`` is
    (B, latent_dim, *positions), from 0 on.
    """

    levels: int | tuple[int, ...] = 8
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True
    is_rounded: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        latent_dim = len(self.sizes((latent_dim,)))
        return Head(h_shape, latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        before = self.bounded(head(h))  # (B, latent_dim, *positions), in units of one level
        levels = self._levels(before)
        steps = before.detach().round()
        # b - sg(b) is exactly 0, so that the code is the very level, to the last bit, and its gradient is that of b.
        z = (steps + (before - before.detach())) / (levels // 2)
        return Code(z=z, embedding=z, before=before, indices=(steps + levels // 2).long())

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None

    def bounded(self, h: Tensor) -> Tensor:
        """Return tanh of h (B, latent_dim, *positions), stretched and moved to lie over the levels."""
        levels = self._levels(h)
        # never so wide that a level beyond the last is nearer than the last
        half = (1 + (0.5 / (levels - 1)).clamp(max=SLACK)) * (levels - 1) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0).to(h)
        return half * torch.tanh(h + torch.atanh(offset / half)) - offset

    def indices_of(self, head: nn.Module, h: Tensor) -> Tensor:
        """Return the level of each number, (B, latent_dim, *positions) long."""
        before = self.bounded(head(h)).detach()
        return (before.round() + self._levels(before) // 2).long()

    def decode_indices(self, head: nn.Module, indices: Tensor) -> Tensor:
        """Return the code that such levels stand for, (B, latent_dim, *positions), equal to the last bit."""
        half = self._levels(indices.to(next(head.parameters()))) // 2
        return (indices - half) / half

    def sizes(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many values each number of a code may take."""
        levels = self.levels if isinstance(self.levels, (tuple, list)) else (self.levels,)
        if not levels or any(int(count) < 3 for count in levels):
            raise SettingError(
                f"FiniteScalar(levels={self.levels!r}) needs at least 3 levels for every number; for two, use Binary()."
            )
        return tuple(levels) if len(levels) > 1 else tuple(levels) * z_shape[0]

    def _levels(self, z: Tensor) -> Tensor:
        return broadcast(constant(self.sizes(z.shape[1:]), z), z)


@dataclass
class Binary(Bottleneck, Discrete):
    """A code of bits: z = [h + noise * logistic > 0] in training, z = [h > 0] afterwards (Salakhutdinov & Hinton 2009).

    With noise a bit is a coin that shows 1 with probability sigmoid(h / noise), so that training pushes h away from 0 and
    little is lost when the coin goes. The gradient is that of sigmoid(h) (Bengio 2013). :func:`pack` puts eight bits into
    a byte. A bit says little: give such a code 64 numbers or more.
    """

    noise: float = 0.3
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True
    is_rounded: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return Head(h_shape, latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        before = head(h)  # (B, latent_dim, *positions)
        chance = torch.sigmoid(before)
        slope = chance - chance.detach()  # exactly 0, with the gradient of the sigmoid
        sure = (before > 0).to(h)
        bits = sure if rng is None else (before + self.noise * _logistic(before, rng) > 0).to(h)
        return Code(z=bits + slope, embedding=sure + slope, before=before, indices=bits.long())

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None

    def sizes(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many values each number of a code may take: two."""
        return (2,) * z_shape[0]


def pack(z: Tensor) -> Tensor:
    """Put bits (n, ...), numbers that are 0 or not, into bytes (n, ceil(bits / 8)): uint8, the first bit the highest."""
    bits = (z.flatten(1) != 0).long()
    eights = F.pad(bits, (0, -bits.shape[1] % 8)).unflatten(1, (-1, 8))
    return (eights << torch.arange(7, -1, -1, device=z.device)).sum(-1).to(torch.uint8)


def unpack(packed: Tensor, n: int) -> Tensor:
    """Return the first ``n`` bits of each row of bytes (rows, bytes), as float32 0 and 1: what :func:`pack` was given."""
    if not 0 <= n <= 8 * packed.shape[1]:
        raise SettingError(f"unpack(n={n}) must be from 0 to the {8 * packed.shape[1]} bits of a row.")
    bits = (packed[..., None].long() >> torch.arange(7, -1, -1, device=packed.device)) & 1  # (rows, bytes, 8)
    return bits.flatten(1)[:, :n].float()


def _logistic(like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw from the logistic distribution: the logarithm of the odds of a uniform number."""
    u = torch.rand(like.shape, dtype=torch.float32, device=like.device, generator=rng).to(like.dtype)
    smallest = torch.finfo(like.dtype).eps
    return torch.logit(u, eps=smallest)
