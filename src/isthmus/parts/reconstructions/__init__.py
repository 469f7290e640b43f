"""Reconstructions: how far x_hat is from x, one number per cell, summed to one number per sample."""

from isthmus.parts.reconstructions.counts import NegativeBinomial, Poisson
from isthmus.parts.reconstructions.errors import AbsoluteError, Huber, LogCosh, SquaredError
from isthmus.parts.reconstructions.likelihoods import (
    Bernoulli,
    DiscretizedLogistic,
    GradientNormal,
    LogVariance,
    Normal,
)
from isthmus.parts.reconstructions.perception import SSIM, MultiScaleSSIM
from isthmus.parts.reconstructions.reconstruction import Reconstruction, Starting
from isthmus.parts.reconstructions.tables import Mixed, cells_of

__all__ = [
    "SSIM",
    "AbsoluteError",
    "Bernoulli",
    "DiscretizedLogistic",
    "GradientNormal",
    "Huber",
    "LogCosh",
    "LogVariance",
    "Mixed",
    "MultiScaleSSIM",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "Reconstruction",
    "SquaredError",
    "Starting",
    "cells_of",
]
