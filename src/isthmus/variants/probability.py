"""Variational autoencoders: a code with a prior."""

from __future__ import annotations

from typing import Any

from isthmus.designs import Hierarchical, ImportanceWeighted, VampPrior
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Gaussian
from isthmus.variants.compose import compose


def variational(latent_dim: int | str = "auto", beta: float = 1.0, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code has a prior, so that samples can be drawn (Kingma & Welling 2014).

    The decoder's variance is learned (Rybkin 2021), so with ``beta=1`` the loss is the negative evidence lower bound.
    """
    return compose(latent_dim, {"bottleneck": Gaussian(beta=beta)}, settings)


def importance_weighted(latent_dim: int | str = "auto", samples: int = 8, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder trained on a tighter bound, from several codes a sample (Burda 2016)."""
    return compose(latent_dim, {"bottleneck": Gaussian(), "design": ImportanceWeighted(samples)}, settings)


def hierarchical(
    latent_dim: int | str = "auto", top_dim: int | str = "auto", warm_up: float = 0.5, **settings: Any
) -> Autoencoder:
    """Return a variational autoencoder of two levels: a code whose prior a second, smaller code draws (Sonderby 2016)."""
    own = {"bottleneck": Gaussian(warm_up=warm_up), "design": Hierarchical(top_dim)}
    return compose(latent_dim, own, settings)


def mixture_prior(latent_dim: int | str = "auto", components: int = 50, **settings: Any) -> Autoencoder:
    """Return a variational autoencoder whose prior is a mixture that it learns, the VampPrior (Tomczak & Welling 2018)."""
    return compose(latent_dim, {"bottleneck": Gaussian(), "design": VampPrior(components)}, settings)
