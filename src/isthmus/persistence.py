"""Saved models: a folder of JSON and safetensors, written whole or not at all, and never a pickle."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import Tensor

from isthmus.errors import ModelFileError

FORMAT = 1
"""The format this version writes; it reads this one and all before it."""
_STALE = {"report.html", "report.json", "model.onnx"}
"""Files beside a model that describe it and are wrong once it is replaced."""


@dataclass
class Saved:
    """What a model folder holds: plain data, weights, and a card for people."""

    kind: str
    """"autoencoder", "detector", ..: which class rebuilds it."""
    config: dict[str, Any]
    weights: dict[str, Tensor]
    preprocess: dict[str, Any]
    arrays: dict[str, np.ndarray]
    metrics: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    card: str = ""
    inside: dict[str, Saved] = field(default_factory=dict)
    """Models that this one is made of, by name: each a complete model in a folder of its own."""


_BUILDERS: dict[str, Callable[..., Any]] = {}


def register(kind: str, build: Callable[..., Any]) -> None:
    """Say which function ``build(saved, **parts)`` rebuilds models of ``kind``."""
    _BUILDERS[kind] = build


def rebuild(saved: Saved, path: str | os.PathLike[str], **parts: Any) -> Any:
    """Return the object that was saved; ``path`` is what errors call it, ``parts`` what a folder cannot hold."""
    if saved.kind not in _BUILDERS:
        raise ModelFileError(
            f"{path} holds a {saved.kind!r}, which this version of isthmus does not know; update isthmus."
        )
    try:
        return _BUILDERS[saved.kind](saved, **parts)
    except KeyError as error:
        raise ModelFileError(f"The model in {path} is incomplete: {error} is missing; copy the model again.") from error
    except ModelFileError as error:
        raise ModelFileError(f"The model in {path} cannot be rebuilt: {error}") from error


def read(folder: Path) -> Saved:
    """Read a model folder without building the model."""
    if not folder.exists():
        raise ModelFileError(f"There is no model at {folder}; check the path, or fit one first.")
    if not (folder / "config.json").is_file():
        raise ModelFileError(f"{folder} is not an Isthmus model: it has no config.json.")
    config = _read_json(folder / "config.json")
    number = config.get("format")
    if not isinstance(number, int) or "kind" not in config:
        raise ModelFileError(f"{folder} is not an Isthmus model: its config.json names no format and kind.")
    if number > FORMAT:
        raise ModelFileError(
            f"{folder} was saved in format {number}, by isthmus {config.get('isthmus', 'of a later version')}; this version "
            f"reads up to format {FORMAT}: update isthmus."
        )
    weights = _read_tensors(folder / "model.safetensors")
    arrays = _read_tensors(folder / "preprocess.safetensors")
    history = [json.loads(line) for line in _read_text(folder / "history.jsonl").splitlines()]
    return Saved(
        config["kind"],
        config,
        weights,
        _read_json(folder / "preprocess.json"),
        {name: value.numpy() for name, value in arrays.items()},
        _read_json(folder / "metrics.json"),
        history,
        _read_text(folder / "README.md"),
        {name: read(folder / name) for name in _inside(config, folder)},
    )


def _inside(config: dict[str, Any], folder: Path) -> list[str]:
    """Return the names of the models within a model; a name that leads elsewhere is refused."""
    names = config.get("inside", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ModelFileError(f"The model folder {folder} is damaged: config.json names models inside as {names!r}.")
    return names


def _made_of(folder: Path) -> set[str]:
    """Return the names of the models within a folder that is to be replaced; none where it is no model, or damaged."""
    try:
        return set(_inside(_read_json(folder / "config.json"), folder))
    except ModelFileError:
        return set()


def write(saved: Saved, path: str | os.PathLike[str]) -> None:
    """Write a model folder: into a temporary folder beside it, then renamed, so that a failure leaves the old model whole."""
    target = Path(path)
    if target.exists() and not is_model(target) and (not target.is_dir() or any(target.iterdir())):
        raise ModelFileError(f"{target} exists and is not an Isthmus model; give another path, or remove it first.")
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        _write_files(saved, temporary)
        _carry_over(target, temporary)
        _replace(target, temporary)
    except (OSError, SafetensorError) as error:  # a full disk is an OSError here, and a SafetensorError there
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"The model could not be saved to {target}: {reason}; nothing there was changed."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def is_model(folder: Path) -> bool:
    """Does ``folder`` look like a saved model?"""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def versions() -> dict[str, str]:
    """Return the versions that a saved model names."""
    import torch

    from isthmus import __version__

    return {
        "isthmus": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _write_files(saved: Saved, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    weights = {name: value.detach().cpu().contiguous().clone() for name, value in saved.weights.items()}
    arrays = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in saved.arrays.items()}
    inside = {"inside": list(saved.inside)} if saved.inside else {}
    config = {"format": FORMAT, "kind": saved.kind} | versions() | inside | saved.config
    _write_text(folder / "config.json", _json(config))
    _write_text(folder / "preprocess.json", _json(saved.preprocess))
    _write_text(folder / "metrics.json", _json(saved.metrics))
    _write_text(folder / "history.jsonl", "".join(json.dumps(record) + "\n" for record in saved.history))
    _write_text(folder / "README.md", saved.card)
    save_file(weights, folder / "model.safetensors")
    save_file(arrays, folder / "preprocess.safetensors")
    # mkdtemp and safetensors write for one user alone; a model is as readable as any other file its user writes
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    for file in folder.iterdir():
        file.chmod(0o666 & ~umask)
    for name, inner in saved.inside.items():
        (folder / name).mkdir()
        _write_files(inner, folder / name)


def _carry_over(target: Path, temporary: Path) -> None:
    """Keep what the user has put beside the old model, but not what describes it."""
    if target.is_dir():
        stale = _STALE | _made_of(target)
        for old in target.iterdir():
            if old.name not in stale and not (temporary / old.name).exists():
                (shutil.copytree if old.is_dir() else shutil.copy2)(old, temporary / old.name)


def _replace(target: Path, temporary: Path) -> None:
    """Put the new folder where the old one stands; if that fails half-way, put the old one back."""
    if not target.exists():
        os.rename(temporary, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / "model"
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside, target)  # should this fail too, the old model stays where it was put aside
        aside.parent.rmdir()
        raise
    shutil.rmtree(aside.parent, ignore_errors=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"The model folder {file.parent} is damaged: {file.name} cannot be read ({error})."
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise ModelFileError(
            f"The model folder {file.parent} is damaged: {file.name} is not valid JSON ({error}); copy the model again."
        ) from error


def _read_tensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"The model folder {file.parent} is damaged: {file.name} cannot be read ({error}); copy the model again."
        ) from error
