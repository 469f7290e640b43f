"""What a network that removes noise learns from: rows with noise put on them, beside what they should become."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from isthmus.parts.corruptions import GaussianNoise
from isthmus.parts.schedule import ends
from isthmus.parts.step import Batch, normal

STRENGTH = 0.5
"""By which share of its noise a noisy row is corrupted again."""


class Pairs(NamedTuple):
    """Noisy rows and their targets."""

    y: Tensor
    """(n, d), 0 where nothing is observed."""
    target: Tensor
    """(n, d) the clean rows, or such whose noise is independent of that of ``y``."""
    level: Tensor
    """(n, 1) the standard deviation of Gaussian noise; 0 where there is another."""
    observed: Tensor | None = None


class Noise(Protocol):
    """How pairs are made of the rows at hand; an even number of rows comes, an even number of pairs goes."""

    def pairs(self, x: Tensor, rng: torch.Generator) -> Pairs: ...


@dataclass(frozen=True)
class Gaussian:
    """Clean rows with Gaussian noise, its level drawn row by row, evenly on a logarithmic scale."""

    low: float
    high: float

    def pairs(self, x: Tensor, rng: torch.Generator) -> Pairs:
        share = torch.rand(len(x), 1, generator=rng)
        level = self.low * (self.high / self.low) ** share
        return Pairs(x + level * normal(x, rng), x, level)


@dataclass(frozen=True)
class Recorrupted:
    """Noisy rows alone: y + a n and y - n / a, whose noises are independent for n ~ N(0, sigma^2) (Pang 2021).

    So the squared error against the second, less its known noise, is the error against the clean row, which nobody has seen.
    Each n comes with -n: the noise of the targets cancels from the loss, and what is left is Stein's unbiased estimate of
    the risk with a finite difference. Pairs i and i + n / 2 are made of one row.
    """

    sigma: float

    @property
    def level(self) -> float:
        """The standard deviation of the noise that is learned from."""
        return self.sigma * math.sqrt(1 + STRENGTH**2)

    @property
    def floor(self) -> float:
        """The mean squared noise of a target: by how much every error is too large."""
        return self.sigma**2 * (1 + STRENGTH**-2)

    def pairs(self, x: Tensor, rng: torch.Generator) -> Pairs:
        x = x[: len(x) // 2] if len(x) > 1 else x
        n = self.sigma * normal(x, rng)
        y, target = (torch.cat([x + a * n, x - a * n]) for a in (STRENGTH, -1 / STRENGTH))
        return Pairs(y, target, torch.full((len(y), 1), self.level))


@dataclass(frozen=True)
class Spoiled:
    """Clean rows spoiled by a corruption of :mod:`isthmus.parts.corruptions`."""

    corruption: Callable[[Batch, torch.Generator], Batch]
    shape: tuple[int, ...]
    cells: Tensor | None = None

    def pairs(self, x: Tensor, rng: torch.Generator) -> Pairs:
        seen = self.corruption(Batch(x.reshape(-1, *self.shape), cells=self.cells), rng)
        observed = None if seen.observed is None else seen.observed.flatten(1)
        return Pairs(seen.x.flatten(1), x, torch.zeros(len(x), 1), observed)


def span(noise: GaussianNoise) -> tuple[float, float]:
    """Return the least and the greatest level of a corruption, the least no less than a twentieth of the greatest."""
    low, high = min(ends(noise.sigma)), max(ends(noise.sigma))
    return max(low, high / 20), high
