"""Reconstructions: how far x_hat is from x, one number per cell, summed to one number per sample."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Block, Layout
from isthmus.parts.part import Part
from isthmus.parts.step import Batch, per_sample


class Reconstruction(Part, ABC):
    """Compare the decoder's output with the clean sample.

    ``reconstruction(x_hat, batch, layout, scale) -> (B,)`` is the sum of :meth:`cells` over the observed cells, where
    ``scale`` is what :meth:`module` built (None when nothing is learned beside the networks).
    """

    needs_unit_range: ClassVar[bool]
    """Does it compare probabilities, so that data must lie in [0, 1]?"""

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

        What is left after subtracting it is at least 0, and 0 for a perfect reconstruction of 0/1 or real data.
        """

    @abstractmethod
    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        """Return (gain, offset), each broadcastable to a flat sample, such that gain * (x - offset) is what the decoder
        must give for the mean to be near x. The linear shortcut speaks through it; None when there is no such line.
        """


def _observed(values: Tensor, batch: Batch) -> Tensor:
    # where, not a product: a gap may hold anything, and 0 * nan is nan
    return values if batch.observed is None else torch.where(batch.observed, values, torch.zeros_like(values))


def _identity_link() -> tuple[Tensor, Tensor]:
    return torch.ones(1), torch.zeros(1)


@dataclass
class SquaredError(Reconstruction):
    """Sum of squared differences: sum (x - x_hat)^2."""

    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return _observed((batch.x - x_hat).square(), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return _identity_link()


@dataclass
class Huber(Reconstruction):
    """Squared near zero, linear beyond ``delta``, so that outliers pull less (Huber 1964): r^2/2 or delta (|r| - delta/2)."""

    delta: float = 1.0
    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return _observed(F.huber_loss(x_hat, batch.x, delta=self.delta, reduction="none"), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return _identity_link()


@dataclass
class Bernoulli(Reconstruction):
    """Negative log-likelihood of [0, 1] data under sigmoid(x_hat), in nats; a true likelihood for 0/1 data."""

    needs_unit_range: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        x = batch.x.clamp(
            0, 1
        )  # new data may overshoot the range of the training data: that counts as an error of its own
        overshoot = (batch.x - x).square()
        return _observed(F.binary_cross_entropy_with_logits(x_hat, x, reduction="none") + overshoot, batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return torch.sigmoid(x_hat)

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return None


class LogVariance(nn.Module):
    """The log variances that a Gaussian likelihood learns; they start at 0, the variance of standardised data."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(size))

    @torch.no_grad()
    def start(self, variances: Tensor) -> None:
        """Start from known variances, (size,)."""
        self.log_var.copy_(variances.clamp(min=1e-3).log())

    def forward(self) -> Tensor:
        # Data without noise has no density; a variance of a thousandth is as sure as this gets.
        return self.log_var.clamp(min=-7.0)


def gaussian_nll(x_hat: Tensor, x: Tensor, log_var: Tensor) -> Tensor:
    """Return -log N(x; x_hat, e^log_var) in nats, elementwise."""
    return 0.5 * ((x - x_hat).square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi))


@dataclass
class Normal(Reconstruction):
    """Negative log-likelihood under N(x_hat, sigma^2), in nats; sigma is learned, one for all numbers (Rybkin 2021)."""

    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        assert scale is not None, "Normal needs the variance that module() builds"
        return _observed(gaussian_nll(x_hat, batch.x, scale()), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return LogVariance(1)

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        assert scale is not None, "Normal needs the variance that module() builds"
        return 0.5 * (scale() + math.log(2 * math.pi))

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return _identity_link()


@dataclass
class Mixed(Reconstruction):
    """One likelihood per column of a table: numeric columns Gaussian, booleans Bernoulli, categories categorical, in nats.

    ``variance="fixed"`` gives every standardised numeric column the variance ``1 / (2 weight)`` and counts
    weight (x - x_hat)^2; ``variance="learned"`` learns one variance per column, which is a likelihood only beside a random
    code: a deterministic one copies as many columns as it has numbers, and no bound holds the density there.
    """

    variance: Literal["fixed", "learned"] = "fixed"
    weight: float = 4.0
    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        cells = x_hat.new_zeros(len(x_hat), len(layout.blocks))
        columns, known = [], batch.observed
        for kind, features, blocks in _runs(layout):
            out, x = x_hat[:, features], batch.x[:, features]
            if kind == "category":
                value = -(x * torch.log_softmax(out, dim=1)).sum(1, keepdim=True)
            elif kind == "boolean":
                value = F.binary_cross_entropy_with_logits(out, x, reduction="none")
            elif scale is None:
                value = self.weight * (x - out).square()
            else:
                value = gaussian_nll(out, x, scale()[blocks])
            if known is not None:
                seen = known[:, features][:, : value.shape[1]]
                value = torch.where(seen, value, torch.zeros_like(value))
            columns.append(value)
        return torch.cat(columns, dim=1) if columns else cells

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        parts = []
        for kind, features, _ in _runs(layout):
            out = x_hat[:, features]
            parts.append(out.softmax(1) if kind == "category" else out.sigmoid() if kind == "boolean" else out)
        return torch.cat(parts, dim=1)

    def module(self, layout: Layout) -> nn.Module | None:
        return LogVariance(len(layout.blocks)) if self.variance == "learned" else None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        if scale is None:
            return None
        is_number = torch.tensor([block.kind == "numeric" for block in layout.blocks], device=scale().device)
        return 0.5 * (scale() + math.log(2 * math.pi)) * is_number

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        # A logit of 6 (p - 1/2) crosses 1/2 where p does and, at p = 0 and 1, says 5 % and 95 %: the linear answer decides,
        # without a certainty that one wrong cell would pay dearly for.
        gain, offset = torch.ones(layout.size), torch.zeros(layout.size)
        for block in layout.blocks:
            if block.kind != "numeric":
                gain[block.features], offset[block.features] = 6.0, 0.5
        return gain, offset


def _runs(layout: Layout) -> list[tuple[str, slice, slice]]:
    """Join neighbouring numeric or boolean blocks, so that a wide table costs few operations: (kind, features, blocks)."""
    runs: list[tuple[str, slice, slice]] = []
    for position, block in enumerate(layout.blocks):
        if runs and block.kind != "category" and runs[-1][0] == block.kind:
            kind, features, blocks = runs[-1]
            runs[-1] = (kind, slice(features.start, block.start + block.width), slice(blocks.start, position + 1))
        else:
            runs.append((block.kind, block.features, slice(position, position + 1)))
    return runs


def cells_of(blocks: tuple[Block, ...]) -> Tensor | None:
    """Return (d,) long: the table column each feature belongs to, counted from 0; None when there are no blocks."""
    if not blocks:
        return None
    order = {name: place for place, name in enumerate(dict.fromkeys(block.column for block in blocks))}
    return torch.cat([torch.full((block.width,), order[block.column]) for block in blocks])
