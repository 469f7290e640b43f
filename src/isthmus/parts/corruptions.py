"""Corruptions: what is done to the input of the encoder while it learns. The loss always compares with the clean sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.part import Part
from isthmus.parts.schedule import Level, ends, level
from isthmus.parts.step import Batch, normal


class Corruption(Part, ABC):
    """Map a clean batch to the one the encoder gets: ``corruption(batch, rng, progress) -> Batch``.

    How strong it is may be a number, a range (low, high) of which every sample draws its own, or a ``Ramp`` over the
    training, whose ``progress`` goes from 0 to 1. In a table a cell is spoiled whole, all features of a category together.
    """

    @abstractmethod
    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch: ...


@dataclass
class GaussianNoise(Corruption):
    """Add noise to every known number: x + sigma * N(0, 1), sigma in units of the scaled data (Vincent 2010)."""

    sigma: Level = 0.3

    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        ends(self.sigma)
        noise = level(self.sigma, batch.x, progress, rng) * normal(batch.x, rng)
        if batch.observed is not None:
            noise = noise * batch.observed  # a gap stays the 0 the encoder knows it by
        return batch._replace(x=batch.x + noise)


@dataclass
class Masking(Corruption):
    """Hide each cell with probability ``rate``: its numbers become 0 and count as not observed (Vincent 2008)."""

    rate: Level = 0.25

    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        shown = ~_hit(self, self.rate, batch, rng, progress)
        observed = shown if batch.observed is None else shown & batch.observed
        return batch._replace(x=batch.x * shown, observed=observed)


@dataclass
class SaltAndPepper(Corruption):
    """Set each known cell, with probability ``rate``, to the least or the greatest it can be, by a fair coin (Vincent 2010).

    What it can be is what the batch shows: the extremes of a column, or of a channel of images and series, whose positions
    share a unit. So the noise stays within the data whatever its scale, and a cell of a table stays one that exists: a
    boolean becomes false or true, a category the first or the last one seen. A gap stays a gap.
    """

    rate: Level = 0.1

    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        hit = _hit(self, self.rate, batch, rng, progress)
        is_salt = _even(batch, rng) < 0.5
        known = torch.ones_like(hit) if batch.observed is None else batch.observed
        with torch.no_grad():
            if batch.cells is None:
                least, greatest = _extreme_numbers(batch.x, known)
            else:
                known = _known_cells(known, batch.cells)  # (B, columns)
                least, greatest = _extreme_cells(batch.x, known, batch.cells)
                known = known[:, batch.cells]
        return batch._replace(x=torch.where(hit & known, torch.where(is_salt, greatest, least), batch.x))


@dataclass
class Swap(Corruption):
    """Replace each cell, with probability ``rate``, by the same cell of another row of the batch, gap or not.

    Every column keeps its distribution; only what belongs together is torn apart. A batch of one row stays as it is.
    """

    rate: Level = 0.15

    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        hit, n = _hit(self, self.rate, batch, rng, progress), len(batch.x)
        if n < 2:
            return batch
        own = torch.arange(n, device=batch.x.device).view(-1, *[1] * (batch.x.dim() - 1))
        away = torch.randint(1, n, _cells_shape(batch), generator=rng, device=batch.x.device)  # never the row itself
        source = torch.where(hit, (own + _on_features(away, batch)) % n, own)  # (B, *shape): which row a number is from
        observed = None if batch.observed is None else batch.observed.gather(0, source)
        return batch._replace(x=batch.x.gather(0, source), observed=observed)


def _hit(part: Corruption, rate: Level, batch: Batch, rng: torch.Generator, progress: float) -> Tensor:
    """Return which numbers a corruption meets, (B, *shape) bool: each cell with the probability ``rate``, alone."""
    if not all(0 <= end < 1 for end in ends(rate)):
        raise SettingError(f"{type(part).__name__}(rate={rate!r}) must be at least 0 and below 1; try 0.2.")
    return _even(batch, rng) < level(rate, batch.x, progress, rng)


def _even(batch: Batch, rng: torch.Generator) -> Tensor:
    """Draw from [0, 1) for every cell: (B, *shape), the same for all features of a cell."""
    return _on_features(torch.rand(_cells_shape(batch), generator=rng, device=batch.x.device), batch)


def _cells_shape(batch: Batch) -> tuple[int, ...]:
    """Return (B, columns) for tables, (B, *shape) where every number is a cell."""
    return tuple(batch.x.shape) if batch.cells is None else (len(batch.x), int(batch.cells.max()) + 1)


def _on_features(values: Tensor, batch: Batch) -> Tensor:
    return values if batch.cells is None else values[:, batch.cells]


def _extreme_numbers(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest known number, each (1, ...): of a column, or of a channel over its positions."""
    # (B, d) a column, (B, length, channels) a channel, (B, channels, *positions) a channel
    over = {2: (0,), 3: (0, 1)}.get(x.dim(), (0, *range(2, x.dim())))
    least = x.masked_fill(~known, torch.inf).amin(over, keepdim=True)
    return least, x.masked_fill(~known, -torch.inf).amax(over, keepdim=True)


def _known_cells(known: Tensor, cells: Tensor) -> Tensor:
    """Return which cells are known, (B, columns): those of which every feature is."""
    unknown = torch.zeros(len(known), int(cells.max()) + 1, device=known.device)
    return unknown.index_add_(1, cells, (~known).float()) == 0


def _extreme_cells(x: Tensor, known: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest known cell of each column, each (d,): cells of rows that exist, hence valid.

    Features are weighted by their place in the cell, which orders numbers and booleans by value and categories by place.
    """
    width = torch.bincount(cells)
    place = torch.arange(1, len(cells) + 1, device=cells.device) - (width.cumsum(0) - width)[cells]
    order = x.new_zeros(known.shape).index_add_(1, cells, x * place)  # (B, columns)
    features = torch.arange(len(cells), device=cells.device)
    least = order.masked_fill(~known, torch.inf).argmin(0)
    greatest = order.masked_fill(~known, -torch.inf).argmax(0)
    return x[least[cells], features], x[greatest[cells], features]
