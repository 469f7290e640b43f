"""The reconstruction: how far x_hat is from x, one number per cell, summed to one number per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.layout import Layout
from isthmus.parts.part import Part
from isthmus.parts.step import Batch, per_sample


class Reconstruction(Part, ABC):
    """Compare the decoder's output with the clean sample.

    ``reconstruction(x_hat, batch, layout, scale) -> (B,)`` is the sum of :meth:`cells` over the observed cells, where
    ``scale`` is what :meth:`module` built (None when nothing is learned beside the networks).
    """

    needs_unit_range: ClassVar[bool]
    """Does it compare probabilities, so that data must lie in [0, 1]?"""
    needs_counts: ClassVar[bool] = False
    """Does it count events? Then data must be whole numbers, unscaled, and the encoder sees log(1 + x)."""

    is_likelihood: ClassVar[bool] = False
    """Is it minus the log of a probability (density) that sums to 1, in nats? Then bounds on log p(x) mean what they say."""

    def __call__(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return per_sample(self.cells(x_hat, batch, layout, scale))

    @abstractmethod
    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        """Return one number per cell, 0 at gaps: (B, *shape), or (B, n_blocks) for tables."""

    @abstractmethod
    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        """Return the expected sample, (B, *shape), from the decoder's output."""

    @abstractmethod
    def module(self, layout: Layout) -> nn.Module | None:
        """Build what is learned beside the networks (a variance), or None."""

    @abstractmethod
    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        """Return the part of each cell that no reconstruction can change, (n_cells,) or (1,); None when there is none.

        What is left after subtracting it is at least 0, and 0 for a perfect reconstruction of 0/1 or real data. Where the
        best there could be depends on the sample (counts, levels of grey), there is none: what is left is -log p >= 0.
        """

    @abstractmethod
    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        """Return (gain, offset), each broadcastable to a flat sample, such that gain * (x - offset) is what the decoder
        must give for the mean to be near x. The linear shortcut speaks through it; None when there is no such line.
        """


class Starting(nn.Module, ABC):
    """What a reconstruction keeps beside the networks, where the data says something of it before the first step."""

    @abstractmethod
    def start_from(self, mean: Tensor, left: Tensor) -> None:
        """Take up the mean of every number, (d,), and the variance that PCA leaves of each, (d,) or (n_blocks,)."""


def observed_only(values: Tensor, batch: Batch) -> Tensor:
    """Return values per number, 0 at gaps."""
    # where, not a product: a gap may hold anything, and 0 * nan is nan
    return values if batch.observed is None else torch.where(batch.observed, values, torch.zeros_like(values))


def identity_link() -> tuple[Tensor, Tensor]:
    """Return the link of a reconstruction that compares the sample itself."""
    return torch.ones(1), torch.zeros(1)
