"""Errors: how far two samples are apart, without a claim about probabilities."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Layout
from isthmus.parts.reconstructions.reconstruction import Reconstruction, identity_link, observed_only
from isthmus.parts.step import Batch


class Difference(Reconstruction, ABC):
    """A reconstruction that compares the sample itself, number by number, with nothing learned beside the networks."""

    needs_unit_range: ClassVar[bool] = False

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()


@dataclass
class SquaredError(Difference):
    """Sum of squared differences: sum (x - x_hat)^2."""

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return observed_only((batch.x - x_hat).square(), batch)


@dataclass
class AbsoluteError(Difference):
    """Sum of absolute differences: sum |x - x_hat|; what it learns is a median, which strays do not move."""

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return observed_only((batch.x - x_hat).abs(), batch)


@dataclass
class Huber(Difference):
    """Squared near zero, linear beyond ``delta``, so that outliers pull less (Huber 1964): r^2/2 or delta (|r| - delta/2)."""

    delta: float = 1.0

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return observed_only(F.huber_loss(x_hat, batch.x, delta=self.delta, reduction="none"), batch)


@dataclass
class LogCosh(Difference):
    """Squared near zero, linear far away, and smooth all along (Green 1990): sum log cosh(x - x_hat), r^2/2 for small r."""

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        size = (batch.x - x_hat).abs()
        # log cosh r = |r| + log((1 + e^-2|r|) / 2), which overflows nowhere and keeps its digits near 0
        return observed_only(size + torch.log1p(0.5 * torch.expm1(-2 * size)), batch)
