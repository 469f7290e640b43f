"""Likelihoods: how probable a sample is under what the decoder says, in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.reconstructions.reconstruction import Reconstruction, Starting, identity_link, observed_only
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


class LogVariance(Starting):
    """The log variances that a Gaussian likelihood learns; they start at 0, the variance of standardised data."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(size))

    @torch.no_grad()
    def start(self, variances: Tensor) -> None:
        """Start from known variances, (size,)."""
        self.log_var.copy_(variances.clamp(min=1e-3).log())

    def start_from(self, mean: Tensor, left: Tensor) -> None:
        self.start(left.mean()[None] if self.log_var.numel() == 1 else left)

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


class TwoVariances(Starting):
    """The log variances of pixels and of differences between neighbours, (2,)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(2))

    @torch.no_grad()
    def start_from(self, mean: Tensor, left: Tensor) -> None:
        # the errors of neighbours are alike, so that their difference varies about as much as either
        self.log_var.fill_(float(left.mean().clamp(min=1e-3).log()))

    def forward(self) -> Tensor:
        return self.log_var.clamp(min=-7.0)


@dataclass
class GradientNormal(Reconstruction):
    """Normal errors of the pixels and of the differences between neighbours, each with a learned variance.

    -log N(x; y, s^2) - log N(Dx; Dy, t^2) for the expected image y = sigmoid(x_hat), where D takes the differences of
    neighbours along rows and columns (after the gradient difference loss of Mathieu 2016): edges count, and no weight is to
    be guessed. A product of experts that is not normalised, and so no likelihood: as a bound on log p(x) it has no meaning. A
    difference is put on the first of its two pixels; one that ends in a gap counts as rebuilt perfectly.
    """

    needs_unit_range: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        assert scale is not None, "GradientNormal needs the variances that module() builds"
        pixel, slope = scale()
        error = observed_only(batch.x - torch.sigmoid(x_hat), batch)
        cells = _normal_nll(error, pixel)
        for axis, end in ((2, (0, 0, 0, 1)), (3, (0, 1))):
            step = error.diff(dim=axis)
            if batch.observed is not None:
                many = step.shape[axis]
                known = batch.observed.narrow(axis, 0, many) & batch.observed.narrow(axis, 1, many)
                step = torch.where(known, step, torch.zeros_like(step))
            cells = cells + F.pad(_normal_nll(step, slope), end)
        return observed_only(cells, batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return torch.sigmoid(x_hat)

    def module(self, layout: Layout) -> nn.Module | None:
        if len(layout.shape) != 3:
            raise SettingError(
                f"GradientNormal compares neighbouring pixels, but a sample has the shape {tuple(layout.shape)}; give images "
                f"(n, h, w) or (n, c, h, w), or use 'normal'."
            )
        return TwoVariances()

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        assert scale is not None, "GradientNormal needs the variances that module() builds"
        # what is left of a perfect reconstruction; sigmoid(0) is one half
        half = torch.full((1, *layout.shape), 0.5, device=next(scale.parameters()).device)
        return self.cells(torch.zeros_like(half), Batch(half), layout, scale)[0]

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return None


def _normal_nll(error: Tensor, log_var: Tensor) -> Tensor:
    return gaussian_nll(error, torch.zeros_like(error), log_var)


class LogScale(Starting):
    """The log scale of a logistic distribution: one for all numbers, (1,), or one for each, (*shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full(shape, -2.0))  # data of [0, 1] before anything is known of it

    @torch.no_grad()
    def start_from(self, mean: Tensor, left: Tensor) -> None:
        variance = (
            left.mean().expand_as(self.log_scale) if self.log_scale.numel() == 1 else left.view_as(self.log_scale)
        )
        # a logistic distribution of scale s has the variance (pi s)^2 / 3
        self.log_scale.copy_(0.5 * (3 * variance.clamp(min=1e-6)).log() - math.log(math.pi))

    def forward(self) -> Tensor:
        return self.log_scale.clamp(-9.0, 3.0)  # from a thirtieth of one of 256 levels to twenty times the whole range


@dataclass
class DiscretizedLogistic(Reconstruction):
    """Negative log-likelihood of levels, in nats: a logistic density at x_hat, cut into ``levels`` bins (Salimans 2017).

    p(x) = s((x + w/2 - x_hat) / scale) - s((x - w/2 - x_hat) / scale) for a level x = 0, w, 2w .. 1, where s is the logistic
    function; the first and the last bin take the tails. Numbers between two levels count as the nearer. The scale is
    learned: ``scales="one"`` for all numbers, or "each" its own. The expected sample is x_hat kept within [0, 1], the
    median of what the bins say.
    """

    levels: int = 256
    scales: Literal["one", "each"] = "one"
    needs_unit_range: ClassVar[bool] = True
    is_likelihood: ClassVar[bool] = True

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        assert scale is not None, "DiscretizedLogistic needs the scale that module() builds"
        inside = batch.x.clamp(0, 1)
        overshoot = (
            batch.x - inside
        ).square()  # new data may leave the range of the training data: an error of its own
        level = torch.round(inside * (self.levels - 1))
        sharpness, width = torch.exp(-scale()), 1 / (self.levels - 1)
        upper = F.logsigmoid(((level + 0.5) * width - x_hat) * sharpness)
        lower = F.logsigmoid((x_hat - (level - 0.5) * width) * sharpness)
        # s(b) - s(a) = s(b) s(-a) (1 - e^(a - b)): no difference of two nearly equal numbers is ever taken
        both = torch.log(-torch.expm1(-width * sharpness))
        is_first, is_last = level == 0, level == self.levels - 1
        log_p = torch.where(is_last, 0.0, upper) + torch.where(is_first, 0.0, lower)
        return observed_only(overshoot - log_p - torch.where(is_first | is_last, 0.0, both), batch)

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat.clamp(0, 1)

    def module(self, layout: Layout) -> nn.Module | None:
        if isinstance(self.levels, bool) or not hasattr(self.levels, "__index__") or self.levels < 2:
            raise SettingError(
                f"DiscretizedLogistic(levels={self.levels!r}) must be a whole number of at least 2; 8-bit images have 256."
            )
        if self.scales not in ("one", "each"):
            raise SettingError(f"DiscretizedLogistic(scales={self.scales!r}) must be 'one' or 'each'.")
        return LogScale((1,) if self.scales == "one" else layout.shape)

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None  # at the ends a reconstruction can be certain, between them it cannot

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()
