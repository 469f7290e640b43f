"""Likelihoods: how probable a sample is under what the decoder says, in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Layout
from isthmus.parts.reconstructions.reconstruction import Reconstruction, identity_link, observed_only
from isthmus.parts.step import Batch


@dataclass
class Bernoulli(Reconstruction):
    """Negative log-likelihood of [0, 1] data under sigmoid(x_hat), in nats; a true likelihood for 0/1 data."""

    needs_unit_range: ClassVar[bool] = True
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        x = batch.x.clamp(
            0, 1
        )  # new data may overshoot the range of the training data: that counts as an error of its own
        overshoot = (batch.x - x).square()
        return observed_only(F.binary_cross_entropy_with_logits(x_hat, x, reduction="none") + overshoot, batch)

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
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        assert scale is not None, "Normal needs the variance that module() builds"
        return observed_only(gaussian_nll(x_hat, batch.x, scale()), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        return LogVariance(1)

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        assert scale is not None, "Normal needs the variance that module() builds"
        return 0.5 * (scale() + math.log(2 * math.pi))

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()
