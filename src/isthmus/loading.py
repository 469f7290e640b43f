"""Loading whatever was saved: which module rebuilds which kind of model."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from isthmus import persistence

_REBUILT_BY = {
    "autoencoder": "isthmus.estimator",
    "clusterer": "isthmus.apps.clustering",
    "denoiser": "isthmus.apps.denoising.denoiser",
    "compressor": "isthmus.apps.compression.rebuilding",
    "detector": "isthmus.apps.anomaly.detector",
    "index": "isthmus.apps.retrieval",
    "imputer": "isthmus.apps.imputation.imputer",
    "synthesizer": "isthmus.apps.synthesis.synthesizer",
    "tiles": "isthmus.apps.anomaly.tiles",
}
"""Kind of model -> the module that registers how it is rebuilt. A folder names a kind, never a module."""


def load(path: str | os.PathLike[str], **parts: Any) -> Any:
    """Load a saved model, ready to use: an autoencoder, or what one of its uses has saved.

    Parameters
    ----------
    path : the folder that ``save`` wrote.
    parts : what a model folder cannot hold: ``network=Modules(encoder, decoder)`` for a network of your own modules.

    Nothing is unpickled and no code is imported by name from the folder.
    """
    saved = persistence.read(Path(path))
    if saved.kind in _REBUILT_BY:
        import_module(_REBUILT_BY[saved.kind])
    return persistence.rebuild(saved, path, **parts)
