"""Discrete autoencoders: codes made of whole numbers, or of bits."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Binary, FiniteScalar, VectorQuantized
from isthmus.variants.compose import compose

_SAMPLER = "aggregated"
"""Codes of training rows are in the codebook. A mixture of Gaussians draws new ones, which lie between its entries."""


def vector_quantized(
    latent_dim: int | str = "auto",
    codes: int = 256,
    groups: int | str = "auto",
    levels: int = 1,
    learn: Literal["ema", "gradient"] = "ema",
    commitment: float = 0.25,
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder whose code is made of entries of a codebook (van den Oord 2017).

    With ``latent_dim`` numbers, ``groups="auto"`` (a codebook for each pair of them) and 256 codes, a sample takes half as
    many bytes as its code has numbers. Samples are drawn from codes of training rows; ``sampler="mixture"`` draws new ones.
    """
    bottleneck = VectorQuantized(codes=codes, commitment=commitment, learn=learn, groups=groups, levels=levels)
    return compose(latent_dim, {"bottleneck": bottleneck, "sampler": _SAMPLER}, settings)


def finite_scalar(latent_dim: int | str = "auto", levels: int | tuple[int, ...] = 8, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code is rounded to few levels a number; there is no codebook to learn (Mentzer 2024).

    A tuple of ``levels`` sets the size of the code, whatever ``latent_dim`` says.
    """
    levels = tuple(levels) if isinstance(levels, (tuple, list)) else levels
    return compose(latent_dim, {"bottleneck": FiniteScalar(levels), "sampler": _SAMPLER}, settings)


def binary(latent_dim: int | str = "auto", noise: float = 0.3, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code is made of bits, to search among many samples (Salakhutdinov & Hinton 2009).

    "auto" counts numbers, and a bit says less than a number: give ``latent_dim=64`` or more.
    """
    return compose(latent_dim, {"bottleneck": Binary(noise=noise), "sampler": _SAMPLER}, settings)
