"""Errors: how far two samples are apart, without a claim about probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Layout
from isthmus.parts.reconstructions.reconstruction import Reconstruction, identity_link, observed_only
from isthmus.parts.step import Batch


@dataclass
class SquaredError(Reconstruction):
    """Sum of squared differences: sum (x - x_hat)^2."""

    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return observed_only((batch.x - x_hat).square(), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()


@dataclass
class Huber(Reconstruction):
    """Squared near zero, linear beyond ``delta``, so that outliers pull less (Huber 1964): r^2/2 or delta (|r| - delta/2)."""

    delta: float = 1.0
    needs_unit_range: ClassVar[bool] = False

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        return observed_only(F.huber_loss(x_hat, batch.x, delta=self.delta, reduction="none"), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()
