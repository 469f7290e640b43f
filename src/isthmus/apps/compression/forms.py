"""What a user's data are between the door and the engines: rows that can be cut, made whole numbers of, and put together.

user's data -- take --> part -- whole --> X, Extras -- engine --> X' -- settle --> Extras     what a chunk holds
X', Extras -- values --> part -- join --> user's data                                         and back
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from isthmus.apps.compression import squeezing
from isthmus.apps.compression.bounds import Bound, bits_of
from isthmus.apps.compression.grid import Grid
from isthmus.data.containers import Images, Series, is_table
from isthmus.errors import DataError, SettingError

MOST_VALUES = 1 << 26
"""The most values in a chunk, whatever a file says."""


class Extras(NamedTuple):
    """What no engine sees of a chunk."""

    kept_at: np.ndarray | None = None
    """Which values of X are kept exactly."""
    kept: bytes = b""
    """Those, one after another."""
    negative: np.ndarray | None = None
    side: bytes = b""
    """Texts: cells of a table, names of pictures."""


@dataclass(frozen=True)
class Distance:
    """How far decoded values lie from the originals: what a bound or a code has cost."""

    norm: float = 0.0
    """The root of the sum of the squared errors of the finite values; the squares themselves may be beyond all floats."""
    largest: float = 0.0
    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")

    def __add__(self, other: Distance) -> Distance:
        """Return the distance of both sets of values."""
        norm, count = math.hypot(self.norm, other.norm), self.count + other.count
        largest, low, high = max(self.largest, other.largest), min(self.low, other.low), max(self.high, other.high)
        return Distance(norm, largest, count, low, high)

    @property
    def rms(self) -> float:
        """The root of the mean squared error."""
        return self.norm / math.sqrt(self.count) if self.count else 0.0

    @property
    def psnr(self) -> float:
        """The range of the values above the rms, in decibels; infinite where nothing is lost."""
        return 20 * math.log10((self.high - self.low) / self.rms) if self.rms and self.high > self.low else math.inf


class Form(Protocol):
    """How data of one kind are rows of whole numbers. ``shape``: of X without its rows; ``width``: bytes of what is kept."""

    @property
    def stride(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def width(self) -> int: ...

    def length(self, data: Any) -> int: ...
    def part(self, data: Any, start: int, stop: int) -> Any: ...
    def size(self, part: Any) -> int: ...
    def whole(self, part: Any) -> tuple[np.ndarray, Extras]: ...
    def settle(self, part: Any, X: np.ndarray, again: np.ndarray, extras: Extras) -> Extras: ...
    def values(self, again: np.ndarray, extras: Extras) -> Any: ...
    def digest(self, part: Any) -> bytes: ...
    def distance(self, part: Any, values: Any) -> Distance | None: ...
    def join(self, parts: list[Any]) -> Any: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ArrayForm:
    """Arrays of any number of axes; pictures, whose names go beside; series, which know their window."""

    stride: int
    shape: tuple[int, ...]
    dtype: str
    grid: Grid
    bound: Bound
    container: str = "array"
    """ "array", "scalar", "images" or "series"."""
    window: tuple[int, int] = (0, 0)

    @classmethod
    def fit(cls, data: Any, bound: Bound) -> Self:
        """Look at an array, Images or a Series of numbers."""
        container = "images" if isinstance(data, Images) else "series" if isinstance(data, Series) else "array"
        window = (data.length, data.step) if isinstance(data, Series) else (0, 0)
        array = _array(data)
        container = "scalar" if not array.ndim else container
        array = array.reshape(1) if not array.ndim else array
        numbers = _numbers(array)
        if array.dtype.kind == "c" and not bound.is_exact:
            raise SettingError("complex numbers are compressed lossless; give real and imaginary parts to bound each.")
        own = bound.resolve(numbers)
        grid = Grid.fit(numbers, own)
        exact = grid.stride == 1 and own.kind != "latent"
        return cls(grid.stride, numbers.shape[1:], array.dtype.str, grid, Bound() if exact else own, container, window)

    @property
    def width(self) -> int:
        return np.dtype(self.grid.dtype).itemsize

    def length(self, data: Any) -> int:
        array = _array(data)
        return len(array) if array.ndim else 1

    def part(self, data: Any, start: int, stop: int) -> tuple[np.ndarray, tuple[str, ...]]:
        array = _array(data)
        array = array if array.ndim else array.reshape(1)
        if array.dtype.str != self.dtype or _numbers(array[:0]).shape[1:] != self.shape:
            raise DataError(
                f"the data are {array.dtype} of the shape {array.shape[1:]}, but {np.dtype(self.dtype)} was learned; "
                "convert them, or fit anew."
            )
        names = tuple(data.names[start:stop]) if isinstance(data, Images) else ()
        return _numbers(array[start:stop]), names

    def size(self, part: Any) -> int:
        return part[0].nbytes

    def whole(self, part: Any) -> tuple[np.ndarray, Extras]:
        X, outside, negative = self.grid.to_integers(part[0])
        side = squeezing.pack_texts(part[1]) if self.container == "images" else b""
        return X, Extras(outside, b"", negative, side)

    def settle(self, part: Any, X: np.ndarray, again: np.ndarray, extras: Extras) -> Extras:
        numbers = part[0]
        wrong = self.bound.violations(numbers, self.grid.to_values(again, extras.negative))
        if extras.kept_at is not None:
            wrong |= extras.kept_at
        return (
            extras._replace(kept_at=wrong, kept=numbers[wrong].tobytes())
            if wrong.any()
            else extras._replace(kept_at=None)
        )

    def values(self, again: np.ndarray, extras: Extras) -> Any:
        values = self.grid.to_values(again, extras.negative)
        if extras.kept_at is not None:
            values[extras.kept_at] = np.frombuffer(extras.kept, values.dtype)
        names = squeezing.unpack_texts(extras.side)[0] if self.container == "images" else ()
        if self.container == "images" and len(names) != len(values):
            raise DataError(f"{len(names)} names are given to {len(values)} pictures")
        return values, names

    def digest(self, part: Any) -> bytes:
        digest = hashlib.blake2b(bits_of(part[0]).data, digest_size=8)
        digest.update("\0".join(part[1]).encode("utf-8", "surrogatepass"))
        return digest.digest()

    def distance(self, part: Any, values: Any) -> Distance | None:
        if self.bound.is_exact or part[0].dtype.kind not in "iuf":
            return None
        x, again = part[0].astype(np.float64), values[0].astype(np.float64)
        finite = np.isfinite(x) & np.isfinite(again)
        if not finite.any():
            return None
        x, gap = x[finite], x[finite] - again[finite]
        largest = float(np.abs(gap).max())
        norm = largest * float(np.linalg.norm(gap / largest)) if largest else 0.0
        return Distance(norm, largest, x.size, float(x.min()), float(x.max()))

    def join(self, parts: list[Any]) -> Any:
        empty = np.zeros((0, *self.shape), self.grid.dtype)
        numbers = (
            parts[0][0] if len(parts) == 1 else np.concatenate([empty, *(part[0] for part in parts)], dtype=empty.dtype)
        )
        if np.dtype(self.dtype).kind == "c":
            numbers = np.ascontiguousarray(numbers).view(self.dtype)[..., 0]
        if self.container == "images":
            return Images(numbers, [name for part in parts for name in part[1]])
        if self.container == "series":
            return Series(numbers, *self.window)
        return numbers.reshape(()) if self.container == "scalar" and len(numbers) == 1 else numbers

    def to_json(self) -> dict[str, Any]:
        return {
            "form": "array",
            "dtype": self.dtype,
            "shape": list(self.shape),
            "grid": self.grid.to_json(),
            "bound": self.bound.to_json(),
            "container": self.container,
            "window": list(self.window),
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Rebuild the form of an array; what makes no sense is a DataError."""
        try:
            grid, shape = Grid.from_json(state["grid"]), tuple(state["shape"])
            whole = all(type(side) is int and 0 <= side <= MOST_VALUES for side in shape)
            dtype, container = np.dtype(state["dtype"]), state["container"]
            known = container in ("array", "scalar", "images", "series") and dtype.kind in "biufcmM"
            if whole and known and (dtype.kind == "c" or dtype == np.dtype(grid.dtype)):
                bound = Bound(**state["bound"])
                return cls(grid.stride, shape, dtype.str, grid, bound, container, tuple(state["window"]))
        except (KeyError, TypeError, SettingError):
            pass
        raise DataError("the header describes an array that cannot be")


@dataclass(frozen=True)
class TableForm:
    """Tables, by way of their schema; a series of named columns knows its window."""

    schema: Any
    window: tuple[int, int] = (0, 0)
    stride: int = 1
    width: int = 8

    @classmethod
    def fit(cls, data: Any, bound: Bound | Mapping[str, Bound]) -> Self:
        """Look at a table."""
        from isthmus.apps.compression.tables import Schema

        window = (data.length, data.step) if isinstance(data, Series) else (0, 0)
        return cls(Schema.fit(data.values if isinstance(data, Series) else data, bound), window)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.schema.width,)

    def length(self, data: Any) -> int:
        from isthmus.data import frames

        return frames.length_of(data.values if isinstance(data, Series) else data)

    def part(self, data: Any, start: int, stop: int) -> list[Any]:
        from isthmus.apps.compression.tables import only_counts

        table = data.values if isinstance(data, Series) else data
        rows = table.iloc[start:stop] if hasattr(table, "iloc") else table[start:stop]
        counted = hasattr(table, "iloc") and only_counts(table)
        return self.schema.columns_of(rows.reset_index(drop=True) if counted else rows)

    def size(self, part: Any) -> int:
        return sum(column.nbytes for column in part)

    def whole(self, part: Any) -> tuple[np.ndarray, Extras]:
        cells = self.schema.to_integers(part)
        side = b"".join(map(squeezing.pack_texts, cells.texts))
        return cells.X, Extras(cells.outside, cells.kept.astype("<i8").tobytes(), None, side)

    def settle(self, part: Any, X: np.ndarray, again: np.ndarray, extras: Extras) -> Extras:
        if not np.array_equal(X, again):
            raise DataError("an engine did not give back the whole numbers of a table")
        return extras

    def values(self, again: np.ndarray, extras: Extras) -> Any:
        from isthmus.apps.compression.tables import Cells

        texts, rest = [], extras.side
        for plan in self.schema.plans:
            if plan.kind in ("text", "category"):
                found, rest = squeezing.unpack_texts(rest)
                texts.append(found)
        kept = np.frombuffer(extras.kept, "<i8").astype(np.int64)
        return self.schema.to_columns(Cells(again, extras.kept_at, kept, tuple(texts)))

    def digest(self, part: Any) -> bytes:
        digest = hashlib.blake2b(digest_size=8)
        X, extras = self.whole(part)
        for data in (X.tobytes(), squeezing.pack_mask(extras.kept_at), extras.kept, extras.side):
            digest.update(data)
        return digest.digest()

    def distance(self, part: Any, values: Any) -> Distance | None:
        return None  # each column has a measure of its own

    def join(self, parts: list[Any]) -> Any:
        import pyarrow as pa

        if not parts:
            X = np.zeros((0, self.schema.width), np.int64)
            return self._dressed(self.values(X, Extras(side=bytes(8 * len(self.schema.plans)))))
        columns = [pa.chunked_array(pieces).combine_chunks() for pieces in zip(*parts, strict=True)]
        return self._dressed(columns)

    def _dressed(self, columns: list[Any]) -> Any:
        table = self.schema.table(columns)
        return Series(table, *self.window) if self.window[0] else table

    def to_json(self) -> dict[str, Any]:
        return {"form": "table", "schema": self.schema.to_json(), "window": list(self.window)}


def form_of(data: Any, bound: Bound | Mapping[str, Bound]) -> Form:
    """Return the form of a user's data."""
    values = data.values if isinstance(data, Series) else data
    if not isinstance(data, Images) and is_table(values):
        return TableForm.fit(data, bound)
    if isinstance(bound, Mapping):
        raise SettingError("bounds by name are for tables; give an array one number.")
    return ArrayForm.fit(data, bound)


def form_from(state: dict[str, Any]) -> Form:
    """Rebuild the form that a file describes."""
    if state.get("form") == "array":
        return ArrayForm.from_json(state)
    if state.get("form") == "table":
        from isthmus.apps.compression.tables import Schema

        return TableForm(Schema.from_json(state.get("schema")), tuple(state.get("window", (0, 0))))
    raise DataError(f"the header describes data of the form {state.get('form')!r}, which this version does not know")


def _array(data: Any) -> np.ndarray:
    """Return the numbers of a container as they are."""
    if isinstance(data, Images):
        return data.pixels
    values = data.values if isinstance(data, Series) else data
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "biufcmM" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise DataError(
            f"values of the type {array.dtype} cannot be compressed; convert them to numbers or to a table first."
        )
    return array


def _numbers(array: np.ndarray) -> np.ndarray:
    """Return an array as it goes to the grid: complex numbers as pairs."""
    if array.dtype.kind != "c":
        return array
    return np.ascontiguousarray(array)[..., None].view(array.dtype.str.replace("c16", "f8").replace("c8", "f4"))
