"""Variational autoencoders: a code with a prior."""

from __future__ import annotations

from typing import Any

from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Gaussian
from isthmus.variants.compose import compose


def variational(latent_dim: int | str = "auto", beta: float = 1.0, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code has a prior, so that samples can be drawn (Kingma & Welling 2014).

    The decoder's variance is learned (Rybkin 2021), so with ``beta=1`` the loss is the negative evidence lower bound.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(beta=beta)}, settings)
