"""Denoising and contractive autoencoders: what keeps a code from copying is noise, or its own steepness."""

from __future__ import annotations

from typing import Any

from isthmus.estimator import Autoencoder
from isthmus.parts.corruptions import GaussianNoise
from isthmus.variants.compose import compose


def denoising(latent_dim: int | str = "auto", noise: float = 0.3, **settings: Any) -> Autoencoder:
    """Return an autoencoder that restores clean samples from noisy ones (Vincent 2010)."""
    return compose(latent_dim, {"corruptions": (GaussianNoise(noise),)}, settings)
