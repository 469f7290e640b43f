"""Sparse autoencoders: few numbers of a code are not zero for any one sample."""

from __future__ import annotations

from typing import Any

from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.penalties import L1
from isthmus.variants.compose import compose


def sparse(latent_dim: int | str = "auto", weight: float = 1e-2, **settings: Any) -> Autoencoder:
    """Return an autoencoder with a rectified code under an L1 penalty: few of its numbers are not zero (Ng 2011)."""
    return compose(latent_dim, {"bottleneck": Plain("relu"), "penalties": (L1(weight),)}, settings)
