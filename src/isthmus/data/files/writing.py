"""Containers -> files: chosen by extension, written under a temporary name and renamed when whole."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ...atomic import written_whole
from ...errors import DataError
from ..containers import Images, channels_first, guess_axes, is_table

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2", ".tga")
_TABLES = (".csv", ".tsv", ".csv.gz", ".parquet", ".pq", ".feather", ".arrow")
_ARRAYS = (".npy", ".npz")
_ALLOWED = {
    "table": _TABLES,
    "array": (*_TABLES, *_ARRAYS),
    "series": (*_TABLES, *_ARRAYS),
    "images": (*_ARRAYS, *PICTURES, "a folder"),
}


def write(container: Any, path: str | os.PathLike[str]) -> None:
    """Write a table, an array or pictures to ``path``; what is there is replaced only when the new file is whole."""
    if not isinstance(container, Images) and hasattr(container, "detach"):
        container = container.detach().cpu().numpy()  # a torch tensor
    kind = _kind(container)
    check_writable(path, kind)
    target = Path(path)
    if _suffix(path) == "a folder":
        _write_folder(_as_images(container), target)
        return
    writer = _writer(container, kind, _suffix(path))
    with written_whole(target) as temporary:
        writer(temporary)


def check_writable(path: str | os.PathLike[str], container_kind: str) -> None:
    """Raise DataError unless a container of this kind ("table", "array", "images", "series") can be written there."""
    suffix, allowed = _suffix(path), _ALLOWED[container_kind]
    if suffix not in allowed:
        what = "a folder" if suffix == "a folder" else f"the extension {suffix!r} of {str(path)!r}"
        raise DataError(f"{what} cannot hold {_NOUNS[container_kind]}; write to one of {', '.join(allowed)}.")
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise DataError(f"there is no folder {str(parent)!r} to write {Path(path).name!r} into; make it first.")
    if not os.access(parent, os.W_OK):
        raise DataError(f"the folder {str(parent)!r} may not be written to; choose another.")
    if Path(path).is_file() and not Path(path).stat().st_mode & 0o222:  # root may write anything, but should not
        raise DataError(f"{str(path)!r} is read-only; give another name, or make it writable first.")
    if suffix == "a folder" and Path(path).is_file():
        raise DataError(f"{str(path)!r} is a file; give the name of a folder for the pictures.")
    if suffix != "a folder" and Path(path).is_dir():
        raise DataError(f"{str(path)!r} is a folder; give a name of a file that ends in {suffix}.")


_NOUNS = {"table": "a table", "array": "an array", "series": "a series", "images": "pictures"}


def _suffix(path: str | os.PathLike[str]) -> str:
    """Return the extension in small letters, or "a folder"."""
    text = os.fspath(path)
    suffix = Path(text).suffix.lower()
    if text.endswith(("/", os.sep)) or not suffix or (Path(text).is_dir() and suffix not in _ALLOWED["array"]):
        return "a folder"
    return ".csv.gz" if text.lower().endswith(".csv.gz") else suffix


def _kind(container: Any) -> str:
    if isinstance(container, Images):
        return "images"
    if not isinstance(container, np.ndarray):
        return "table"
    return "images" if container.ndim in (3, 4) else "array"


def _writer(container: Any, kind: str, suffix: str) -> Callable[[Path], None]:
    """Return the function that writes this container to a path; whatever can be refused is refused here."""
    if suffix in PICTURES:
        return _picture_writer(_as_images(container))
    if suffix in _ARRAYS:
        array = container.pixels if isinstance(container, Images) else container
        return lambda path: _save_array(path, array)
    table = _as_arrow(container) if kind == "table" else _as_table(container)
    if suffix in (".parquet", ".pq"):
        from pyarrow import parquet

        return lambda path: parquet.write_table(table, path)
    if suffix in (".feather", ".arrow"):
        from pyarrow import feather

        return lambda path: feather.write_feather(table, str(path))
    return lambda path: _save_delimited(path, table, suffix)


def _save_array(path: Path, array: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=False)
    else:
        np.savez_compressed(path, x=array)


def _save_delimited(path: Path, table: Any, suffix: str) -> None:
    """Write text: categories by their names, durations as counts of their unit, gaps as empty cells."""
    import pyarrow as pa
    import pyarrow.types as pt
    from pyarrow import csv

    columns = []
    for column in table.columns:
        if pt.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pt.is_duration(column.type):
            column = column.cast(pa.int64())
        columns.append(column)
    options = csv.WriteOptions(delimiter="\t" if suffix == ".tsv" else ",")
    plain = pa.table(columns, names=table.column_names)
    with gzip.open(path, "wb") if suffix == ".csv.gz" else path.open("wb") as file:
        csv.write_csv(plain, file, options)


def _as_arrow(container: Any) -> Any:
    """Return a table of any family as an Arrow table."""
    from .. import frames

    if not is_table(container):
        raise DataError(f"a {type(container).__name__} cannot be written; give a table, an array or pictures.")
    columns = [(each.dress, each.values) for each in frames.columns_of(container)]
    return frames.assemble(columns, "pyarrow", frames.family_of(container))


def _as_table(array: np.ndarray) -> Any:
    import pyarrow as pa

    if array.ndim > 2:
        raise DataError(f"an array of shape {array.shape} is no table; write it to .npy or .npz.")
    matrix = array[:, None] if array.ndim == 1 else array
    return pa.table({f"column_{i + 1}": matrix[:, i] for i in range(matrix.shape[1])})


def _as_images(container: Any) -> Images:
    if isinstance(container, Images):
        return container
    if container.dtype != np.uint8:
        raise DataError(f"pictures are written from uint8 numbers, these are {container.dtype}; write them to .npy.")
    pixels, (channels, _, _) = channels_first(container, guess_axes(container.shape)[0])
    if channels not in (1, 3, 4):
        raise DataError(f"pictures have 1, 3 or 4 channels, these have {channels}; write them to .npy.")
    return Images(np.ascontiguousarray(pixels), [f"image_{i + 1:05d}.png" for i in range(len(pixels))])


def _picture_writer(images: Images) -> Callable[[Path], None]:
    if len(images) != 1:
        raise DataError(f"one picture file cannot hold {len(images)} pictures; write to a folder.")
    return lambda path: _save_picture(images.pixels[0], path)


def _save_picture(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    if image.mode == "RGBA" and path.suffix.lower() in (".jpg", ".jpeg", ".bmp", ".ppm"):
        image = image.convert("RGB")  # formats without transparency
    image.save(path)


def _write_folder(images: Images, target: Path) -> None:
    """Write PNG files into a temporary folder, then move it (or, where the folder exists, its files) into place."""
    temporary = target.with_name(f".{uuid4().hex}")
    files = _file_names(images.names)
    try:
        for name, pixels in zip(files, images.pixels, strict=True):
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            _save_picture(pixels, temporary / name)
        if not target.exists():
            os.replace(temporary, target)
            return
        for name in files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / name, target / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _file_names(names: list[str]) -> list[str]:
    """Return one PNG name for each picture, inside the folder, no name twice."""
    files: list[str] = []
    taken: set[str] = set()
    for name in names:
        parts = [part for part in Path(name).with_suffix("").parts if part not in ("..", "/", os.sep)]
        stem = "/".join(parts) or "image"
        file, number = f"{stem}.png", 2
        while file in taken:
            file, number = f"{stem}_{number}.png", number + 1
        taken.add(file)
        files.append(file)
    return files
