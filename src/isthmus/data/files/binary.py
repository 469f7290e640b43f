"""Binary files -> tables and arrays: Parquet, Feather, npy, npz, IDX (the MNIST format) and Zarr."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import DataError
from .. import memory

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_ZARR_MARKS = (".zarray", ".zgroup", "zarr.json")
_DATA_NAMES = ("x", "X", "data")


def read_table(path: Path) -> pa.Table:
    """Read a Parquet or Feather file."""
    from pyarrow import feather, parquet

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = parquet.read_table(path)
        else:
            table = feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the file {str(path)!r} cannot be read as {path.suffix[1:]} ({reason}); write it again."
        ) from error
    if table.num_rows == 0:
        raise DataError(f"the table in {str(path)!r} has no rows; give it at least one.")
    # pandas stores its row labels as columns of these names; they are no data.
    return table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])


def read_npy(path: Path) -> np.ndarray:
    """Read one numpy array; pickled objects are refused."""
    try:
        return _refuse_objects(path, np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise DataError(_not_loaded(path, error)) from error


def read_npz(path: Path) -> np.ndarray:
    """Read the only array of an npz file, or the one called x, X or data."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            chosen = names if len(names) == 1 else [name for name in _DATA_NAMES if name in names]
            if not chosen:
                raise DataError(
                    f"the file {str(path)!r} holds {len(names)} arrays ({', '.join(names)}) and none is called "
                    "x, X or data; save the one you mean as .npy."
                )
            return arrays[chosen[0]]
    except DataError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(_not_loaded(path, error)) from error


def looks_like_idx(path: Path) -> bool:
    """Say whether the file begins like IDX: two zero bytes, a known type, one to four sides."""
    try:
        with _open(path) as file:
            start = file.read(4)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _IDX_TYPES and 1 <= start[3] <= 4


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file, gzipped or not: 0 0 type sides, the sides as big-endian int32, then the numbers."""
    try:
        with _open(path) as file:
            raw = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"the file {str(path)!r} is not a whole gzip file ({error}); copy it again.") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise DataError(f"the file {str(path)!r} is named like IDX but does not begin like it; is it another format?")
    dtype, sides = np.dtype(_IDX_TYPES[raw[2]]), raw[3]
    if len(raw) < 4 + 4 * sides:
        raise DataError(f"the file {str(path)!r} ends within its header ({len(raw)} bytes); copy it again.")
    shape = tuple(int(side) for side in np.frombuffer(raw, ">i4", sides, 4))
    start, needed = 4 + 4 * sides, math.prod(shape) * dtype.itemsize
    if len(raw) - start != needed:
        raise DataError(
            f"the file {str(path)!r} has {len(raw) - start} bytes of numbers, {needed} expected; copy it again."
        )
    array = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def looks_like_zarr(path: Path) -> bool:
    """Say whether a folder is a Zarr array or group."""
    return any((path / mark).is_file() for mark in _ZARR_MARKS)


def read_zarr(path: Path) -> np.ndarray:
    """Read a Zarr array block by block into one array: float32, but uint8 stays as it is."""
    try:
        import zarr
    except ImportError as error:
        raise DataError(f'reading {str(path)!r} needs zarr; install it with: pip install "isthmus[zarr]"') from error
    if not looks_like_zarr(path):
        raise DataError(f"the folder {str(path)!r} is no Zarr array: it has none of {', '.join(_ZARR_MARKS)}.")
    stored: Any = zarr.open(str(path), mode="r")
    if isinstance(stored, zarr.Group):
        names = sorted(name for name, _ in stored.arrays())
        raise DataError(
            f"the folder {str(path)!r} is a group of arrays ({', '.join(names) or 'none'}); "
            f"name one of them, as in {str(path / (names or ['X'])[0])!r}."
        )
    if stored.dtype.kind not in "biuf" or stored.ndim == 0:
        raise DataError(
            f"the array in {str(path)!r} holds {stored.dtype} of shape {stored.shape}, not rows of numbers."
        )
    memory.require(stored.shape[0], math.prod(stored.shape[1:]), f"the array in {str(path)!r}")
    out = np.empty(stored.shape, np.uint8 if stored.dtype == np.uint8 else np.float32)
    step = max(1, stored.chunks[0])
    for start in range(0, len(out), step):
        out[start : start + step] = stored[start : start + step]
    return out


def _open(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _refuse_objects(path: Path, array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray):  # an npz file under the name npy
        raise DataError(f"the file {str(path)!r} holds several arrays; rename it to .npz.")
    return array


def _not_loaded(path: Path, error: Exception) -> str:
    if "pickle" in str(error).lower():
        return (
            f"the file {str(path)!r} holds pickled Python objects, which can run code and are refused; "
            "save an array of numbers instead."
        )
    return (
        f"the file {str(path)!r} is not a whole {path.suffix[1:]} file ({str(error).splitlines()[0]}); write it again."
    )
