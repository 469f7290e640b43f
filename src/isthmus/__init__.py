"""Isthmus: autoencoders for your own data, with scikit-learn's manners.

>>> import isthmus as ist
>>> ae = ist.Autoencoder(latent_dim=16).fit(X)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from isthmus.catalogue import VARIANTS

if TYPE_CHECKING:
    from isthmus.apps.displays import BaselineDisplay as BaselineDisplay
    from isthmus.apps.displays import CodeMapDisplay as CodeMapDisplay
    from isthmus.apps.displays import LearningCurveDisplay as LearningCurveDisplay
    from isthmus.apps.displays import ReconstructionDisplay as ReconstructionDisplay
    from isthmus.apps.report import report as report
    from isthmus.callbacks import Checkpoint as Checkpoint
    from isthmus.data import Images as Images
    from isthmus.data import Series as Series
    from isthmus.data.files import read as read
    from isthmus.data.files import write as write
    from isthmus.estimator import Autoencoder as Autoencoder
    from isthmus.parts.bottlenecks import Bare as Bare
    from isthmus.parts.bottlenecks import Gaussian as Gaussian
    from isthmus.parts.bottlenecks import Plain as Plain
    from isthmus.parts.corruptions import GaussianNoise as GaussianNoise
    from isthmus.parts.corruptions import Masking as Masking
    from isthmus.parts.networks import MLP as MLP
    from isthmus.parts.networks import Conv as Conv
    from isthmus.parts.networks import Modules as Modules
    from isthmus.parts.penalties import L1 as L1
    from isthmus.parts.reconstructions import Bernoulli as Bernoulli
    from isthmus.parts.reconstructions import Huber as Huber
    from isthmus.parts.reconstructions import Mixed as Mixed
    from isthmus.parts.reconstructions import Normal as Normal
    from isthmus.parts.reconstructions import SquaredError as SquaredError
    from isthmus.persistence import load as load
    from isthmus.variants import variant as variant
    from isthmus.variants.noise import denoising as denoising
    from isthmus.variants.probability import variational as variational
    from isthmus.variants.reconstruction import convolutional as convolutional
    from isthmus.variants.reconstruction import deep as deep
    from isthmus.variants.reconstruction import vanilla as vanilla
    from isthmus.variants.sparsity import sparse as sparse

__version__ = "0.1.0"

# Where each public name lives. They are imported at first use: `import isthmus` must not cost the import of torch.
_HOMES = {
    "isthmus.estimator": ("Autoencoder",),
    "isthmus.variants": ("variant", *(entry.name for entry in VARIANTS)),
    "isthmus.parts.networks": ("MLP", "Conv", "Modules"),
    "isthmus.parts.bottlenecks": ("Bare", "Gaussian", "Plain"),
    "isthmus.parts.corruptions": ("GaussianNoise", "Masking"),
    "isthmus.parts.reconstructions": ("Bernoulli", "Huber", "Mixed", "Normal", "SquaredError"),
    "isthmus.parts.penalties": ("L1",),
    "isthmus.callbacks": ("Checkpoint",),
    "isthmus.data": ("Images", "Series"),
    "isthmus.data.files": ("read", "write"),
    "isthmus.apps.report": ("report",),
    "isthmus.apps.displays": ("BaselineDisplay", "CodeMapDisplay", "LearningCurveDisplay", "ReconstructionDisplay"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["load", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] - the catalogue says which variants there are


def __getattr__(name: str) -> Any:
    if name == "load":
        import_module("isthmus.estimator")  # registers what an "autoencoder" folder is rebuilt by
        return import_module("isthmus.persistence").load
    if name not in _HOME:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
