"""Files <-> containers: what a user has on disk, as the tables, arrays and pictures that ``learn`` understands."""

# The readers are imported on use, so that reading a CSV file loads neither Pillow nor zarr.

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...errors import DataError
from ...layout import Layout
from ..containers import Images
from .writing import PICTURES, check_writable, write

__all__ = ["Images", "check_writable", "read", "write"]

_DELIMITED = (".csv", ".tsv", ".txt", ".data", ".test")
_TABLES = (".parquet", ".pq", ".feather", ".arrow")
_KNOWN = (*_DELIMITED, ".csv.gz", *_TABLES, ".npy", ".npz", ".idx", "-ubyte", ".zarr", *PICTURES)


def read(
    path: str | os.PathLike[str],
    *,
    gaps: Sequence[str] = (),
    header: bool | Literal["auto"] = "auto",
    columns: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    layout: Layout | None = None,
) -> Any:
    """Read a file or folder: delimited text and Parquet become Arrow tables, arrays numpy, pictures ``Images``.

    Parameters
    ----------
    gaps : cells of delimited text that mean "missing", besides "", NA, N/A, NaN, nan, null, NULL and None.
    header : whether the first row of delimited text holds names; "auto": unless a cell of it is a number or a gap.
    columns : names for delimited text without a header.
    size : height and width that pictures are brought to; by default their median.
    layout : the samples of a trained model; pictures are brought to its size and number of channels.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no file or folder {str(path)!r}; check the path (it is looked up in {Path.cwd()}).")
    if path.is_dir():
        return _read_folder(path, size, layout)
    if path.stat().st_size == 0:
        raise DataError(f"the file {str(path)!r} is empty; was it written to the end?")
    if not os.access(path, os.R_OK):
        raise DataError(f"the file {str(path)!r} may not be read; change its permissions.")
    suffix = path.suffix.lower()
    bare = Path(path.stem).suffix.lower() if suffix == ".gz" else suffix
    if bare in _DELIMITED:
        from .delimited import read_delimited

        return read_delimited(path, gaps=gaps, header=header, columns=columns)
    from . import binary

    if suffix in _TABLES:
        return binary.read_table(path)
    if suffix == ".npy":
        return binary.read_npy(path)
    if suffix == ".npz":
        return binary.read_npz(path)
    if suffix in PICTURES:
        from .pictures import read_pictures

        return read_pictures(path.parent, [path], *_wanted(size, layout))
    if bare.startswith(".idx") or "-ubyte" in path.name or binary.looks_like_idx(path):
        return binary.read_idx(path)
    raise DataError(
        f"the file {str(path)!r} is of no known kind; known are {', '.join(_KNOWN)} and folders of pictures."
    )


def _read_folder(path: Path, size: tuple[int, int] | None, layout: Layout | None) -> Any:
    from . import binary

    if path.suffix.lower() == ".zarr" or binary.looks_like_zarr(path):
        return binary.read_zarr(path)
    from .pictures import pictures_in, read_pictures

    return read_pictures(path, pictures_in(path), *_wanted(size, layout))


def _wanted(size: tuple[int, int] | None, layout: Layout | None) -> tuple[tuple[int, int] | None, int | None]:
    """Return the size and the number of channels that pictures must have, where a model fixes them."""
    if layout is None or len(layout.shape) != 3:
        return size, None
    channels, height, width = layout.shape
    return size or (height, width), channels
