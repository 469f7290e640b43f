"""The variants: one short function each that composes parts, by family. ``catalogue.VARIANTS`` lists them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from isthmus.catalogue import FAMILIES, unknown
from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder

_FILES = dict(
    zip(FAMILIES, ("reconstruction", "sparsity", "noise", "probability", "codebooks", "sequences"), strict=True)
)
_HOME = {entry.name: _FILES[family] for family, entries in FAMILIES.items() for entry in entries}

__all__ = ["variant"]


def variant(name: str, **settings: Any) -> Autoencoder:
    """Return the variant called ``name``, as it stands in the catalogue."""
    if name not in _HOME:
        raise SettingError(unknown(name))
    return __getattr__(name)(**settings)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'isthmus.variants' has no attribute {name!r}")
    return getattr(import_module(f"isthmus.variants.{_HOME[name]}"), name)
