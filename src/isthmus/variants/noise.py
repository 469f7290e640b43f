"""Denoising, contractive and regularised autoencoders: what keeps a code from copying is noise, or its own steepness."""

from __future__ import annotations

from typing import Any, Literal

from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.corruptions import GaussianNoise, Masking, SaltAndPepper, Swap
from isthmus.parts.penalties import CodeNorm, Contractive, DecoderGradient
from isthmus.parts.schedule import Level
from isthmus.variants.compose import compose

_NOISE = {"gaussian": GaussianNoise, "masking": Masking, "salt_and_pepper": SaltAndPepper, "swap": Swap}


def denoising(
    latent_dim: int | str = "auto",
    noise: Level = 0.3,
    kind: Literal["gaussian", "masking", "salt_and_pepper", "swap"] = "gaussian",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder that restores clean samples from noisy ones (Vincent 2010).

    ``noise`` is a standard deviation in units of the scaled data, or the share of cells that is spoiled; from Python also a
    range (low, high) or a ``Ramp``.
    """
    if kind not in _NOISE:
        raise SettingError(f"kind={kind!r} is not known; use one of {', '.join(_NOISE)}.")
    return compose(latent_dim, {"corruptions": (_NOISE[kind](noise),)}, settings)


def contractive(
    latent_dim: int | str = "auto", weight: float = 1.0, projections: int = 1, **settings: Any
) -> Autoencoder:
    """Return an autoencoder whose code small changes of the sample hardly move (Rifai 2011).

    The code is sigmoid, as in the paper: beside an identity code the penalty mostly shrinks the code, and the decoder
    enlarges it again. So there is no linear shortcut to start from.
    """
    own = {"bottleneck": Plain("sigmoid"), "penalties": (Contractive(weight, projections),)}
    return compose(latent_dim, own, settings)


def regularised(
    latent_dim: int | str = "auto",
    weight: float = 0.1,
    smoothness: float = 0.03,
    kind: Literal["l2", "gradient"] = "l2",
    **settings: Any,
) -> Autoencoder:
    """Return an autoencoder with short codes and a smooth decoder; samples come from a mixture on its codes (Ghosh 2020).

    ``smoothness`` weighs what makes the decoder smooth: for "l2" it is the weight decay (of the encoder too), for
    "gradient" the weight of the decoder's squared Jacobian.
    """
    if kind not in ("l2", "gradient"):
        raise SettingError(f"kind={kind!r} is not known; use 'l2' or 'gradient'.")
    if kind == "l2":
        return compose(latent_dim, {"penalties": (CodeNorm(weight),), "weight_decay": smoothness}, settings)
    return compose(latent_dim, {"penalties": (CodeNorm(weight), DecoderGradient(smoothness))}, settings)
