"""The models of saved compressors, for files and stores that name them by their hash: read without torch."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from isthmus.errors import DataError, ModelFileError

VARIABLE = "ISTHMUS_MODELS"
"""The environment variable that lists folders of saved compressors, as PATH does."""
_FOLDERS: list[Path] = []


def models_in(folder: str | Path) -> dict[str, bytes]:
    """Return the models in the folder of a saved compressor, by their hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(Path(folder) / "preprocess.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{str(folder)!r} is no saved compressor, or damaged: {error}") from error
    models = [array.tobytes() for name, array in arrays.items() if name.startswith("engine.")]
    return {sha256(model).hexdigest(): model for model in models}


def register_models(folder: str | Path) -> None:
    """Let the codecs of this process find the models of a saved compressor."""
    models_in(folder)
    if Path(folder) not in _FOLDERS:
        _FOLDERS.append(Path(folder))


def known_models() -> dict[str, bytes]:
    """Return the models of all folders that were registered, or that ISTHMUS_MODELS lists, by their hash."""
    return {sign: model for folder in _folders() for sign, model in models_in(folder).items()}


def compressor_of(models: tuple[str, ...]) -> Any:
    """Return the saved compressor that has the models of these hashes."""
    from isthmus.loading import load

    for folder in _folders():
        if set(models) <= set(models_in(folder)):
            return load(folder)
    signs = ", ".join(sign[:12] for sign in models)
    raise DataError(f"no folder is known that holds the models {signs}; name it by register_models or {VARIABLE}.")


def _folders() -> list[Path]:
    listed = os.environ.get(VARIABLE, "")
    return [*_FOLDERS, *(Path(folder) for folder in listed.split(os.pathsep) if folder)]
