"""The reconstruction family: autoencoders that only reconstruct."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.designs import Stacked
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.networks import MLP, Conv
from isthmus.variants.compose import compose


def vanilla(latent_dim: int | str = "auto", activation: str = "sigmoid", **settings: Any) -> Autoencoder:
    """Return an autoencoder whose one hidden layer is the code (Rumelhart, Hinton & Williams 1986)."""
    own = {"network": MLP(hidden=()), "bottleneck": Plain(activation), "shortcut": False}
    return compose(latent_dim, own, settings)


def deep(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return an autoencoder with several hidden layers on either side of the code (Hinton & Salakhutdinov 2006)."""
    own = {"network": MLP(hidden=tuple(hidden), activation="relu"), "shortcut": False}
    return compose(latent_dim, own, settings)


def convolutional(
    latent_dim: int | str = "auto",
    channels: tuple[int, ...] | str = "auto",
    down: Literal["strided", "pool"] = "strided",
    up: Literal["transposed", "resize"] = "transposed",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder for images whose layers are convolutions (Masci 2011)."""
    own = {"network": Conv(channels=channels, down=down, up=up), "shortcut": False}
    return compose(latent_dim, own, settings)


def stacked(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return a deep autoencoder whose layers are trained one by one first (Hinton & Salakhutdinov 2006; Bengio 2007)."""
    own = {"network": MLP(hidden=tuple(hidden), activation="relu"), "design": Stacked(), "shortcut": False}
    return compose(latent_dim, own, settings)
