"""Perception: how alike two images look, by what stands around each pixel."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.constants import constant
from isthmus.parts.reconstructions.reconstruction import Reconstruction, identity_link, observed_only
from isthmus.parts.step import Batch

LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""What keeps the quotients finite where an image is black, or flat; for images in [0, 1] (Wang 2004)."""
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""How much each scale counts, the finest first; each is half as large as the one before (Wang 2003)."""
FAINTEST = 1e-4
"""A scale that is no better than unrelated counts as this: below it, the steepness of a small power would drown all else."""


class Unlike(NamedTuple):
    """Two images compared at each pixel, (B, c, h, w); both are 0 where they are equal."""

    luminance: Tensor
    """1 - l: how far apart the means of the surroundings are."""
    structure: Tensor
    """1 - c s: how far apart they are once the means are taken away."""


@dataclass
class Resemblance(Reconstruction, ABC):
    """A reconstruction that looks at pixels in their surroundings; the decoder gives the image itself."""

    window: int = 11
    sigma: float = 1.5
    squared_error: float = 1.0
    needs_unit_range: ClassVar[bool] = True

    def mean(self, x_hat: Tensor, layout: Layout) -> Tensor:
        return x_hat

    def module(self, layout: Layout) -> nn.Module | None:
        name = type(self).__name__
        require_image(name, layout.shape)
        if not (self.window >= 1 and self.window % 2 and self.sigma > 0):
            raise SettingError(
                f"{name}(window={self.window!r}, sigma={self.sigma!r}) must be positive, the window odd; Wang uses 11 and 1.5."
            )
        return None

    def normaliser(self, layout: Layout, scale: nn.Module | None) -> Tensor | None:
        return None

    def link(self, layout: Layout) -> tuple[Tensor, Tensor] | None:
        return identity_link()


@dataclass
class SSIM(Resemblance):
    """Structural similarity of images in [0, 1], pixel by pixel: sum (1 - SSIM)/2 + squared_error (x - x_hat)^2.

    SSIM compares means, variances and the covariance of the surroundings of a pixel, under a Gaussian window of ``window``
    pixels and standard deviation ``sigma`` (Wang 2004), the image mirrored at its borders; on images smaller than the window,
    under the largest that fits. Alone it is nearly blind to brightness and trains slowly, so that some squared error goes
    with it (after Zhao 2017). A gap is taken as rebuilt perfectly.
    """

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        require_image("SSIM", layout.shape)
        x, gap = shown(x_hat, batch)
        luminance, structure = unlike(x, gap, self.window, self.sigma)
        # 1 - (1 - a)(1 - b), written so that equal images give exactly 0
        dissimilarity = 0.5 * (luminance + structure - luminance * structure)
        return observed_only(dissimilarity + self.squared_error * gap.square(), batch)


@dataclass
class MultiScaleSSIM(Resemblance):
    """Structural similarity at several scales at once, for images in [0, 1] (Wang 2003).

    Each scale is half as large as the one before; the contrast and structure of each, and the luminance of the last, are
    averaged over the image (each channel for itself), raised to the weights of the paper and multiplied: M. There are as many
    scales, up to five, as hold the window; the weights of fewer are scaled to sum to 1. M belongs to the whole image, so
    (1 - M)/2 is put on each of its pixels evenly; ``squared_error`` (x - x_hat)^2 is added pixel by pixel.
    """

    def cells(self, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None = None) -> Tensor:
        require_image("MultiScaleSSIM", layout.shape)
        x, gap = shown(x_hat, batch)
        similarity = self.similarity(x, gap, batch.observed)[:, :, None, None]
        return observed_only(0.5 * (1 - similarity) + self.squared_error * gap.square(), batch)

    def similarity(self, x: Tensor, gap: Tensor, observed: Tensor | None) -> Tensor:
        """Return M of each channel, (B, c), for images x and x - gap; what was not observed does not enter the averages."""
        weights = constant(SCALES[: scales(min(x.shape[2:]), self.window)], x)
        weights = weights / weights.sum()
        share = None if observed is None else observed.to(x)
        product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        for place, weight in enumerate(weights):
            if place:
                x, gap = F.avg_pool2d(x, 2), F.avg_pool2d(gap, 2)
                share = None if share is None else F.avg_pool2d(share, 2)
            luminance, structure = unlike(x, gap, self.window, self.sigma)
            if place == len(weights) - 1:
                structure = luminance + structure - luminance * structure
            if share is None:
                mean = structure.mean((2, 3))
            else:
                mean = (share * structure).sum((2, 3)) / share.sum((2, 3)).clamp(min=1e-12)
            product = product * (1 - mean).clamp(min=FAINTEST) ** weight
        return product


def require_image(name: str, shape: tuple[int, ...]) -> None:
    """Refuse samples that have no two sides to look along."""
    if len(shape) != 3:
        raise SettingError(
            f"{name} compares images, but a sample has the shape {tuple(shape)}; give images (n, h, w) or (n, c, h, w), or use "
            f"'squared_error'."
        )


def shown(x_hat: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the image, a gap in it filled with what was rebuilt there, and how far it is from the reconstruction."""
    gap = observed_only(batch.x - x_hat, batch)
    return x_hat + gap, gap


def scales(side: int, window: int) -> int:
    """Return how many scales an image has whose shorter side is ``side``: all that hold the window, at least 1."""
    count = 1
    while count < len(SCALES) and side // 2**count >= window:
        count += 1
    return count


def unlike(x: Tensor, gap: Tensor, window: int, sigma: float) -> Unlike:
    """Compare images x (B, c, h, w) and x - gap under a Gaussian window."""
    y = x - gap
    mean_x, mean_y, mean_gap = blurred(x, window, sigma), blurred(y, window, sigma), blurred(gap, window, sigma)
    variances = blurred(x.square() + y.square(), window, sigma) - mean_x.square() - mean_y.square()
    # var x + var y - 2 cov(x, y) is the variance of the difference: no digits are lost where the images are nearly equal
    left = (blurred(gap.square(), window, sigma) - mean_gap.square()).clamp(min=0)
    return Unlike(
        mean_gap.square() / (mean_x.square() + mean_y.square() + LUMINANCE),
        left / (variances.clamp(min=0) + CONTRAST),
    )


def blurred(x: Tensor, window: int, sigma: float) -> Tensor:
    """Average the surroundings of each pixel of x (B, c, h, w) under a Gaussian window, mirrored at the borders."""
    side = min(window, *x.shape[2:])
    radius = (side - 1) // 2
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = kernel / kernel.sum()
    flat = F.pad(x.flatten(0, 1)[:, None], (radius,) * 4, mode="reflect")  # (B c, 1, h + 2 radius, w + 2 radius)
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view(x.shape)
