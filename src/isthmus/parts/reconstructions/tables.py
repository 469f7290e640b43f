"""Tables: one likelihood per column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Block, Layout
from isthmus.parts.reconstructions.likelihoods import LogVariance, gaussian_nll
from isthmus.parts.reconstructions.reconstruction import Reconstruction
from isthmus.parts.step import Batch


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
    is_likelihood: ClassVar[bool] = True

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
