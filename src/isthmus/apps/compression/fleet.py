"""The models of a saved compressor, for files that name them by their hash: read without torch."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from isthmus.errors import ModelFileError


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
