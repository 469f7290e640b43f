"""Corruptions: what is done to the input of the encoder while it learns. The loss always compares with the clean sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from isthmus.errors import SettingError
from isthmus.parts.part import Part
from isthmus.parts.step import Batch, normal


class Corruption(Part, ABC):
    """Map a clean batch to the one the encoder gets: ``corruption(batch, rng) -> Batch``."""

    @abstractmethod
    def __call__(self, batch: Batch, rng: torch.Generator) -> Batch: ...


@dataclass
class GaussianNoise(Corruption):
    """Add noise to every known number: x + sigma * N(0, 1), sigma in units of the scaled data (Vincent 2010)."""

    sigma: float = 0.3

    def __call__(self, batch: Batch, rng: torch.Generator) -> Batch:
        noise = self.sigma * normal(batch.x, rng)
        if batch.observed is not None:
            noise = noise * batch.observed  # a gap stays the 0 the encoder knows it by
        return batch._replace(x=batch.x + noise)


@dataclass
class Masking(Corruption):
    """Hide each cell with probability ``rate``: its numbers become 0 and count as not observed (Vincent 2008).

    In a table a cell is hidden whole: all features of a category together.
    """

    rate: float = 0.25

    def __call__(self, batch: Batch, rng: torch.Generator) -> Batch:
        if not 0 <= self.rate < 1:
            raise SettingError(f"Masking(rate={self.rate}) must be at least 0 and below 1; try 0.25.")
        if batch.cells is None:
            draw = torch.rand(batch.x.shape, generator=rng, device=batch.x.device)
        else:
            columns = int(batch.cells.max()) + 1
            draw = torch.rand(len(batch.x), columns, generator=rng, device=batch.x.device)[:, batch.cells]
        shown = draw >= self.rate
        observed = shown if batch.observed is None else shown & batch.observed
        return batch._replace(x=batch.x * shown, observed=observed)
