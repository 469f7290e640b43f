"""The reconstruction family: autoencoders that only reconstruct."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.designs import Stacked
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.corruptions import Masking
from isthmus.parts.networks import MLP, Conv
from isthmus.parts.reconstructions import NegativeBinomial
from isthmus.variants.compose import compose


def linear(latent_dim: int | str = "auto", **settings: Any) -> Autoencoder:
    """Return a linear autoencoder from a random start: at its best it spans the subspace of PCA (Baldi & Hornik 1989)."""
    own = {"network": MLP(hidden=()), "bottleneck": Plain(), "shortcut": False}
    return compose(latent_dim, own, settings)


def vanilla(latent_dim: int | str = "auto", activation: str = "sigmoid", **settings: Any) -> Autoencoder:
    """Return an autoencoder whose one hidden layer is the code (Rumelhart, Hinton & Williams 1986)."""
    own = {"network": MLP(hidden=()), "bottleneck": Plain(activation), "shortcut": False}
    return compose(latent_dim, own, settings)


def deep(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return an autoencoder with several hidden layers on either side of the code (Hinton & Salakhutdinov 2006)."""
    own = {"network": MLP(hidden=hidden, activation="relu"), "shortcut": False}
    return compose(latent_dim, own, settings)


def tied(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return an autoencoder whose decoder goes back through the encoder's weights, transposed (Vincent 2008)."""
    own = {"network": MLP(hidden=hidden, tied=True), "shortcut": False}
    return compose(latent_dim, own, settings)


def undercomplete(
    latent_dim: int | str = "auto", hidden: tuple[int, ...] | str = "auto", **settings: Any
) -> Autoencoder:
    """Return an autoencoder held by nothing but a code smaller than the input (Goodfellow, Bengio & Courville 2016).

    A code as large as the input is refused when the data is seen.
    """
    own = {"network": MLP(hidden=hidden if isinstance(hidden, str) else tuple(hidden)), "shortcut": False}
    return compose(latent_dim, own, settings)


def overcomplete(
    latent_dim: int | str = "auto", rate: float = 0.25, activation: str = "sigmoid", **settings: Any
) -> Autoencoder:
    """Return an autoencoder with a code larger than the input, "auto" being twice as large (Vincent 2008).

    Hidden cells, a share of ``rate``, keep it from copying; ``corruptions=()`` without another remedy is refused.
    """
    own = {
        "network": MLP(hidden=()),
        "bottleneck": Plain(activation),
        "corruptions": (Masking(rate),),
        "shortcut": False,
    }
    return compose("2x" if latent_dim == "auto" else latent_dim, own, settings)


def convolutional(
    latent_dim: int | str = "auto",
    channels: tuple[int, ...] | str = "auto",
    down: Literal["patches", "strided", "pool"] = "patches",
    up: Literal["patches", "transposed", "resize", "upsample", "pixel_shuffle"] = "patches",
    residual: int = 0,
    code: Literal["vector", "map"] = "vector",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder for images, series or volumes whose layers are convolutions (Masci 2011).

    With ``code="map"`` there is a code of ``latent_dim`` numbers at each place of the smallest map.
    """
    network = Conv(channels=channels, down=down, up=up, residual=residual, code=code)
    return compose(latent_dim, {"network": network, "shortcut": False}, settings)


def counts(latent_dim: int | str = "auto", zero_inflated: bool = False, **settings: Any) -> Autoencoder:
    """Return an autoencoder for counts, whose decoder says how many events to expect of each number (Eraslan 2019)."""
    return compose(latent_dim, {"reconstruction": NegativeBinomial(zero_inflated)}, settings)


def stacked(latent_dim: int | str = "auto", hidden: tuple[int, ...] = (256, 128), **settings: Any) -> Autoencoder:
    """Return a deep autoencoder whose layers are trained one by one first (Hinton & Salakhutdinov 2006; Bengio 2007)."""
    own = {"network": MLP(hidden=hidden, activation="relu"), "design": Stacked(), "shortcut": False}
    return compose(latent_dim, own, settings)
