"""Counts: how probable whole numbers of events are, in nats. The decoder gives the logarithm of the expected count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.layout import Layout
from isthmus.parts.reconstructions.reconstruction import Reconstruction, observed_only
from isthmus.parts.step import Batch

STEEPEST = 20.0
"""Beyond e^20 events the exponential goes on as a straight line, so that nothing overflows and every gradient points back."""


def events(log_rate: Tensor) -> Tensor:
    """Return e^log_rate, which becomes a straight line beyond e^20."""
    beyond = (log_rate - STEEPEST).clamp(min=0)
    return log_rate.clamp(max=STEEPEST).exp() + math.exp(STEEPEST) * beyond


def beyond_stirling(z: Tensor) -> Tensor:
    """Return what Stirling's formula leaves of log Gamma(z), z > 0: log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2."""
    small, large = z.clamp(max=10), z.clamp(min=10)
    direct = torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(z > 10, (1 - (1 - 2 / (7 * large.square())) / (30 * large.square())) / (12 * large), direct)


# Logarithms of factorials of thousands nearly cancel each other, and single precision would lose what is left. So both
# likelihoods are written as Loader (2000) does: Stirling's formula cancels on paper, and u = log(mean / x) says how far the
# mean is off.


def log_poisson(x: Tensor, log_mean: Tensor) -> Tensor:
    """Return log Poisson(x) with the mean e^log_mean, elementwise."""
    some = torch.where(x > 0, x, 1.0)
    u = log_mean - some.log()
    near = some * (torch.expm1(u.clamp(max=STEEPEST)) - u)
    miss = torch.where(log_mean <= STEEPEST, near, events(log_mean) - some - some * u)
    log_p = -miss - 0.5 * (2 * math.pi * some).log() - beyond_stirling(some)
    return torch.where(x > 0, log_p, -events(log_mean))


def log_binomial(x: Tensor, log_mean: Tensor, log_size: Tensor) -> Tensor:
    """Return log NB(x) with the mean e^log_mean and the size r = e^log_size, elementwise; nothing here can overflow."""
    some, size = torch.where(x > 0, x, 1.0), log_size.exp()
    u, total = log_mean - some.log(), some + size
    # x log(m / x) - (x + r) log((m + r) / (x + r)), by way of the smaller of x and r
    by_x, by_size = some * u - total * _tilted(some / total, u), -size * u - total * _tilted(size / total, -u)
    log_p = torch.where(some < size, by_x, by_size) + 0.5 * (log_size - (2 * math.pi * some * total).log())
    log_p = log_p + beyond_stirling(total) - beyond_stirling(size) - beyond_stirling(some)
    return torch.where(x > 0, log_p, -size * F.softplus(log_mean - log_size))


def _tilted(share: Tensor, u: Tensor) -> Tensor:
    """Return log(1 + share (e^u - 1)) for a share of at most 1/2."""
    share, steep = share.clamp(max=0.5), u.clamp(min=30)
    beyond = steep + torch.log(share + (1 - share) * torch.exp(-steep))
    return torch.where(u < 30, torch.log1p(share * torch.expm1(u.clamp(max=30))), beyond)


@dataclass
class Poisson(Reconstruction):
    """Negative log-likelihood of counts whose variance is their mean e^x_hat, in nats: e^x_hat - x x_hat + log x!."""

    needs_unit_range: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = True
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        x, shortfall = _counted(batch)
        return observed_only(shortfall - log_poisson(x, x_hat), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return events(x_hat)

    def module(self, layout: Layout) -> nn.Module | None:
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None  # how well a count can be foretold depends on the count

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return None


class Dispersion(nn.Module):
    """What a negative binomial learns of each number of a sample: its log dispersion and, if asked, how often it is muted."""

    def __init__(self, shape: tuple[int, ...], zero_inflated: bool) -> None:
        super().__init__()
        self.log_size = nn.Parameter(torch.zeros(shape))
        self.muted = nn.Parameter(torch.full(shape, -2.0)) if zero_inflated else None

    def forward(self) -> Tensor:
        return self.log_size.clamp(-7.0, 15.0)  # e^15: no eye could tell it from a Poisson distribution


@dataclass
class NegativeBinomial(Reconstruction):
    """Negative log-likelihood of counts that scatter more than chance alone would have it, in nats (Lopez 2018).

    The mean is m = e^x_hat and the variance m + m^2 / r, with a learned r for each number of a sample. With
    ``zero_inflated`` a learned share q of the cells is muted, whatever the truth: p(x) = q [x = 0] + (1 - q) NB(x); the
    mean of NB is then m / (1 - q), so that e^x_hat is the expected count either way.
    """

    zero_inflated: bool = False
    needs_unit_range: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = True
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        assert isinstance(scale, Dispersion), "NegativeBinomial needs the dispersions that module() builds"
        (x, shortfall), log_size = _counted(batch), scale()
        if scale.muted is None:
            return observed_only(shortfall - log_binomial(x, x_hat, log_size), batch)
        speaks, silent = F.logsigmoid(-scale.muted), F.logsigmoid(scale.muted)  # log(1 - q), log q
        log_p = speaks + log_binomial(x, x_hat - speaks, log_size)
        log_p = torch.where(x == 0, torch.logaddexp(silent.expand_as(log_p), log_p), log_p)
        return observed_only(shortfall - log_p, batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return events(x_hat)

    def module(self, layout: Layout) -> nn.Module | None:
        return Dispersion(layout.shape, self.zero_inflated)

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None  # how well a count can be foretold depends on the count

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return None


def _counted(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the counts, and what new data below 0 costs: an error of its own."""
    x = batch.x.clamp(min=0)
    return x, (batch.x - x).square()
