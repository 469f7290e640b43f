"""Masked autoencoders, and those that read series step by step."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.estimator import Autoencoder
from isthmus.parts.networks import Recurrent, Temporal, Transformer
from isthmus.parts.patch_masking import PatchMasking
from isthmus.variants.compose import compose


def masked(
    latent_dim: int | str = "auto", rate: float = 0.75, patch: int | str = "auto", **settings: Any
) -> Autoencoder:
    """Return an autoencoder that fills in patches, spans or cells it was not shown (He 2022).

    Each training sample hides a share of its own, anything up to ``rate``, so that the code of a whole sample is a good one
    too; the loss counts all of the sample.
    """
    own = {"network": Transformer(patch=patch), "corruptions": (PatchMasking(rate, patch, vary=True),)}
    return compose(latent_dim, own, settings)


def recurrent(
    latent_dim: int | str = "auto",
    hidden: int = 64,
    layers: int = 1,
    cell: Literal["gru", "lstm"] = "gru",
    bidirectional: bool = False,
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder that reads a series step by step into one state, and writes it from one (Srivastava 2015)."""
    return compose(latent_dim, {"network": Recurrent(hidden, layers, cell, bidirectional)}, settings)


def temporal(
    latent_dim: int | str = "auto",
    channels: tuple[int, ...] = (32, 32, 32),
    kernel: int = 3,
    causal: bool = False,
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder for series made of convolutions whose reach doubles from one to the next (Bai 2018)."""
    return compose(latent_dim, {"network": Temporal(tuple(channels), kernel, causal)}, settings)


def transformer(
    latent_dim: int | str = "auto",
    width: int = 64,
    depth: int = 1,
    heads: int = 4,
    patch: int | str = "auto",
    code: Literal["vector", "mean", "map"] = "vector",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder whose patches attend to each other (Vaswani 2017; Dosovitskiy 2021)."""
    return compose(latent_dim, {"network": Transformer(width, depth, heads, patch, code)}, settings)
