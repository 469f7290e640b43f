"""Tables: one likelihood per column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.layout import Block, Layout
from isthmus.parts.reconstructions.likelihoods import LogVariance, gaussian_nll
from isthmus.parts.reconstructions.reconstruction import Reconstruction, Starting
from isthmus.parts.step import Batch


class Balance(Starting):
    """How much each class of a column weighs, by the frequencies of the training data; and variances, where learned."""

    def __init__(self, layout: Layout, variance: LogVariance | None) -> None:
        super().__init__()
        self.layout, self.variance = layout, variance
        self.register_buffer("yes", torch.ones(layout.size))
        self.register_buffer("no", torch.ones(layout.size))
        self.yes: Tensor
        """(d,) weight of a category, or of a boolean that is true."""
        self.no: Tensor
        """(d,) weight of a boolean that is false."""

    @torch.no_grad()
    def start_from(self, mean: Tensor, left: Tensor) -> None:
        mean = mean.to(self.yes)
        for block in self.layout.blocks:
            here = block.features
            if block.kind == "category":
                self.yes[here] = inverse_frequencies(mean[here])
            elif block.kind == "boolean" and not block.gap:  # gaps that are guessed too often would hide what is known
                self.no[here], self.yes[here] = inverse_frequencies(torch.cat([1 - mean[here], mean[here]]))[:, None]
        if self.variance is not None:
            self.variance.start_from(mean, left)

    def forward(self) -> Tensor | None:
        return None if self.variance is None else self.variance()


def inverse_frequencies(share: Tensor) -> Tensor:
    """Return 1 / (K share) for the K classes that occur, so that the mean weight is 1; others weigh as the rarest."""
    occurs = share > 0
    if not occurs.any():  # a column without one known cell
        return torch.ones_like(share)
    weight = 1 / (occurs.sum() * share.clamp(min=float(share[occurs].min())))
    return weight.to(share)


@dataclass
class Mixed(Reconstruction):
    """One likelihood per column of a table: numeric columns Gaussian, booleans Bernoulli, categories categorical, in nats.

    ``variance="fixed"`` gives every standardised numeric column the variance ``1 / (2 weight)`` and counts
    weight (x - x_hat)^2; ``variance="learned"`` learns one variance per column, which is a likelihood only beside a random
    code: a deterministic one copies as many columns as it has numbers, and no bound holds the density there.

    Where some classes are rare: ``focal`` > 0 counts a cell whose class has the probability p as (1 - p)^focal (-log p), so
    that easy cells count little (Lin 2017; they use 2); ``class_weight="balanced"`` weighs each class inversely to its
    frequency in the training data, at a mean weight of 1 (gap indicators excepted). With either it is no likelihood.
    """

    variance: Literal["fixed", "learned"] = "fixed"
    weight: float = 4.0
    focal: float = 0.0
    class_weight: Literal["balanced"] | None = None
    needs_unit_range: ClassVar[bool] = False
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        cells = x_hat.new_zeros(len(x_hat), len(layout.blocks))
        columns, known = [], batch.observed
        log_var = None if scale is None else scale()
        for kind, features, blocks in runs(layout):
            out, x = x_hat[:, features], batch.x[:, features]
            if kind != "numeric":
                value = self._classes(kind, out, x, features, scale)
            elif log_var is None:
                value = self.weight * (x - out).square()
            else:
                value = gaussian_nll(out, x, log_var[blocks])
            if known is not None:
                seen = known[:, features][:, : value.shape[1]]
                value = torch.where(seen, value, torch.zeros_like(value))
            columns.append(value)
        return torch.cat(columns, dim=1) if columns else cells

    def _classes(self, kind: str, out: Tensor, x: Tensor, features: slice, scale: nn.Module | None) -> Tensor:
        """Return the term of one category, (B, 1), or of some booleans, (B, width)."""
        balance = scale if isinstance(scale, Balance) else None
        if kind == "category":
            log_p = torch.log_softmax(out, dim=1)
            weight = x if balance is None else x * balance.yes[features]
            return -(weight * self._focused(log_p)).sum(1, keepdim=True)
        if balance is None and self.focal == 0:
            return F.binary_cross_entropy_with_logits(out, x, reduction="none")
        yes, no = self._focused(F.logsigmoid(out)), self._focused(F.logsigmoid(-out))
        if balance is not None:
            yes, no = balance.yes[features] * yes, balance.no[features] * no
        return -(x * yes + (1 - x) * no)

    def _focused(self, log_p: Tensor) -> Tensor:
        """Return (1 - p)^focal log p."""
        if self.focal == 0:
            return log_p
        doubt = -torch.expm1(log_p)
        return doubt.clamp(min=1e-12).pow(self.focal) * log_p  # the power of 0 has no gradient for a focal below 1

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        parts = []
        for kind, features, _ in runs(layout):
            out = x_hat[:, features]
            parts.append(out.softmax(1) if kind == "category" else out.sigmoid() if kind == "boolean" else out)
        return torch.cat(parts, dim=1)

    def module(self, layout: Layout) -> nn.Module | None:
        if self.class_weight not in (None, "balanced"):
            raise SettingError(f"Mixed(class_weight={self.class_weight!r}) must be 'balanced' or None.")
        variance = LogVariance(len(layout.blocks)) if self.variance == "learned" else None
        return variance if self.class_weight is None else Balance(layout, variance)

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        log_var = None if scale is None else scale()
        if log_var is None:
            return None
        is_number = torch.tensor([block.kind == "numeric" for block in layout.blocks], device=log_var.device)
        return 0.5 * (log_var + math.log(2 * math.pi)) * is_number

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        # A logit of 6 (p - 1/2) crosses 1/2 where p does and, at p = 0 and 1, says 5 % and 95 %: the linear answer decides,
        # without a certainty that one wrong cell would pay dearly for.
        gain, offset = torch.ones(layout.size), torch.zeros(layout.size)
        for block in layout.blocks:
            if block.kind != "numeric":
                gain[block.features], offset[block.features] = 6.0, 0.5
        return gain, offset


def runs(layout: Layout) -> list[tuple[str, slice, slice]]:
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
