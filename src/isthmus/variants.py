"""The variants: one short function each that composes parts. ``catalogue.VARIANTS`` lists them."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.catalogue import VARIANTS
from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Gaussian, Plain
from isthmus.parts.corruptions import GaussianNoise
from isthmus.parts.networks import MLP, Conv
from isthmus.parts.penalties import L1


def vanilla(latent_dim: int | str = "auto", activation: str = "sigmoid", **settings: Any) -> Autoencoder:
    """Return an autoencoder whose one hidden layer is the code (Rumelhart, Hinton & Williams 1986)."""
    own = {"network": MLP(hidden=()), "bottleneck": Plain(activation), "shortcut": False}
    return _compose(latent_dim, own, settings)


def deep(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return an autoencoder with several hidden layers on either side of the code (Hinton & Salakhutdinov 2006)."""
    own = {"network": MLP(hidden=tuple(hidden), activation="relu"), "shortcut": False}
    return _compose(latent_dim, own, settings)


def denoising(latent_dim: int | str = "auto", noise: float = 0.3, **settings: Any) -> Autoencoder:
    """Return an autoencoder that restores clean samples from noisy ones (Vincent 2010)."""
    return _compose(latent_dim, {"corruptions": (GaussianNoise(noise),)}, settings)


def sparse(latent_dim: int | str = "auto", weight: float = 1e-2, **settings: Any) -> Autoencoder:
    """Return an autoencoder with a rectified code under an L1 penalty: few of its numbers are not zero (Ng 2011)."""
    return _compose(latent_dim, {"bottleneck": Plain("relu"), "penalties": (L1(weight),)}, settings)


def convolutional(
    latent_dim: int | str = "auto",
    channels: tuple[int, ...] | str = "auto",
    down: Literal["strided", "pool"] = "strided",
    up: Literal["transposed", "resize"] = "transposed",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder for images whose layers are convolutions (Masci 2011)."""
    own = {"network": Conv(channels=channels, down=down, up=up), "shortcut": False}
    return _compose(latent_dim, own, settings)


def variational(latent_dim: int | str = "auto", beta: float = 1.0, **settings: Any) -> Autoencoder:
    """Return an autoencoder whose code has a prior, so that samples can be drawn (Kingma & Welling 2014).

    The decoder's variance is learned (Rybkin 2021), so with ``beta=1`` the loss is the negative evidence lower bound.
    """
    return _compose(latent_dim, {"bottleneck": Gaussian(beta=beta)}, settings)


def variant(name: str, **settings: Any) -> Autoencoder:
    """Return the variant called ``name``, as it stands in the catalogue."""
    names = [entry.name for entry in VARIANTS]
    if name not in names:
        raise SettingError(f"There is no variant {name!r}; choose one of {', '.join(names)}.")
    return globals()[name](**settings)


def _compose(latent_dim: int | str, own: dict[str, Any], settings: dict[str, Any]) -> Autoencoder:
    """Return the autoencoder of a variant's own parts; what the caller sets goes before them."""
    return Autoencoder(latent_dim=latent_dim, **(own | settings))
