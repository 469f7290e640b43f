"""Sparse autoencoders: few numbers of a code are not zero for any one sample."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import BatchTopK, Gated, JumpReLU, Matryoshka, Plain, TopK
from isthmus.parts.penalties import L1, KLSparsity
from isthmus.variants.compose import compose


def sparse(
    latent_dim: int | str = "auto",
    weight: float = 0.1,
    layers: Literal["code", "hidden", "all"] = "code",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder with a rectified code under an L1 penalty: few of its numbers are not zero (Ng 2011)."""
    return compose(latent_dim, {"bottleneck": Plain("relu"), "penalties": (L1(weight, layers),)}, settings)


def sparse_kl(latent_dim: int | str = "auto", weight: float = 0.3, rate: float = 0.05, **settings: Any) -> Autoencoder:
    """Return an autoencoder with a sigmoid code, each number of which is on for a small share of the samples (Ng 2011)."""
    return compose(latent_dim, {"bottleneck": Plain("sigmoid"), "penalties": (KLSparsity(weight, rate),)}, settings)


def top_k(latent_dim: int | str = "auto", k: int | str = "auto", **settings: Any) -> Autoencoder:
    """Return an autoencoder that keeps the k largest numbers of each code (Makhzani & Frey 2014; Gao 2024)."""
    return compose(latent_dim, {"bottleneck": TopK(k)}, settings)


def batch_top_k(latent_dim: int | str = "auto", k: int | str = "auto", **settings: Any) -> Autoencoder:
    """Return an autoencoder that keeps k numbers a code on average, more for rich samples (Bussmann 2024)."""
    return compose(latent_dim, {"bottleneck": BatchTopK(k)}, settings)


def jump_relu(
    latent_dim: int | str = "auto", weight: float = 0.3, bandwidth: float = 0.2, **settings: Any
) -> Autoencoder:
    """Return an autoencoder that learns below which value each number of the code is zero (Rajamanoharan 2024)."""
    return compose(latent_dim, {"bottleneck": JumpReLU(weight, bandwidth)}, settings)


def gated(latent_dim: int | str = "auto", weight: float = 0.3, **settings: Any) -> Autoencoder:
    """Return an autoencoder that learns which numbers are there apart from how large they are (Rajamanoharan 2024)."""
    return compose(latent_dim, {"bottleneck": Gated(weight)}, settings)


def matryoshka(
    latent_dim: int | str = "auto",
    prefixes: tuple[int, ...] | str = "auto",
    k: int | str = 0,
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder whose code may be cut short: its first numbers are a code already (Kusupati 2022).

    It starts from PCA, unless only the ``k`` largest numbers of a code are to be kept (Bussmann 2025).
    """
    inner = Plain() if k == 0 else TopK(k)
    lengths = prefixes if isinstance(prefixes, str) else tuple(prefixes)
    return compose(latent_dim, {"bottleneck": Matryoshka(inner, lengths)}, settings)
