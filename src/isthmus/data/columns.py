"""One small class for each kind of table column: Arrow values <-> a few float32 features, with an exact way back.

Each class has ``width`` features, ``encode(values, out)`` which fills ``out`` (n, width) and returns which cells could
not be encoded (n,), and ``decode(x)`` which turns expected values (n, width) into Arrow values. ``to_exact`` and ``from_exact``
say the same in one float64 a value, NaN at gaps, which loses nothing: the number itself, or which category it is.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import warnings
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ..errors import DataError, DataWarning
from ..layout import BlockKind
from .frames import is_text, type_from_json, type_to_json
from .scaling import as_dtype, bounded


class ColumnKind(Protocol):
    """The interface of the classes below."""

    kind: ClassVar[str]
    block: ClassVar[BlockKind | None]
    """What the features of this kind are called in a Layout; None when there are none."""

    @property
    def width(self) -> int: ...
    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray: ...
    def decode(self, x: np.ndarray) -> pa.Array: ...
    def to_exact(self, values: pa.Array) -> np.ndarray: ...
    def from_exact(self, numbers: np.ndarray) -> pa.Array: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Numeric:
    """A number: x = (value - offset) / factor; beyond +-knee, where given, x grows as a logarithm and no faster."""

    name: str
    type: pa.DataType
    offset: float
    factor: float
    knee: float | None = None
    kind: ClassVar[str] = "numeric"
    block: ClassVar[BlockKind | None] = "numeric"

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        numbers = numbers_of(self.name, as_numbers(self.name, values))
        missing = np.isnan(numbers)
        x = (numbers - self.offset) / self.factor
        if self.knee is not None:
            x = np.sign(x) * np.where(np.abs(x) > self.knee, self.knee + np.log1p(_beyond(x, self.knee)), np.abs(x))
        out[:, 0] = np.where(missing, 0.0, bounded(x))
        return missing

    def decode(self, x: np.ndarray) -> pa.Array:
        scaled = x[:, 0].astype(np.float64)
        if self.knee is not None:
            far = np.expm1(np.minimum(_beyond(scaled, self.knee), 700.0))  # e^700 is about the largest float64
            scaled = np.sign(scaled) * np.where(np.abs(scaled) > self.knee, self.knee + far, np.abs(scaled))
        return from_numbers(scaled * self.factor + self.offset, self.type)

    def to_exact(self, values: pa.Array) -> np.ndarray:
        return numbers_of(self.name, as_numbers(self.name, values))

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        return from_numbers(np.nan_to_num(numbers), self.type)

    def to_json(self) -> dict[str, Any]:
        return {"offset": self.offset, "factor": self.factor, "knee": self.knee}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> Numeric:
        return cls(name, kind, state["offset"], state["factor"], state["knee"])


def _beyond(x: np.ndarray, knee: float) -> np.ndarray:
    return np.maximum(np.abs(x) - knee, 0.0)


@dataclass(frozen=True)
class Time:
    """A date, time or duration: x = (ticks - origin - offset) / factor; decoded to whole steps (days, hours, ..)."""

    name: str
    type: pa.DataType
    origin: int
    """The first moment seen; subtracted as an integer because float64 cannot hold today in nanoseconds."""
    offset: float
    factor: float
    step: int
    """The largest common unit (day, hour, minute, ..) that all values seen are whole multiples of."""
    kind: ClassVar[str] = "time"
    block: ClassVar[BlockKind | None] = "numeric"

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        missing = _is_null(values)
        ticks = ticks_of(_cast(self.name, values, self.type)) - self.origin
        out[:, 0] = np.where(missing, 0.0, (ticks - self.offset) / self.factor)
        return missing

    def decode(self, x: np.ndarray) -> pa.Array:
        moved = x[:, 0].astype(np.float64) * self.factor + self.offset
        steps = np.rint(moved / self.step).astype(np.int64)
        return from_ticks(self.origin + steps * self.step, self.type)

    def to_exact(self, values: pa.Array) -> np.ndarray:
        steps = (ticks_of(_cast(self.name, values, self.type)) - self.origin) / self.step
        return np.where(_is_null(values), np.nan, steps)

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        steps = np.rint(np.nan_to_num(numbers)).astype(np.int64)
        return from_ticks(self.origin + steps * self.step, self.type)

    def to_json(self) -> dict[str, Any]:
        return {"origin": self.origin, "offset": self.offset, "factor": self.factor, "step": self.step}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> Time:
        return cls(name, kind, state["origin"], state["offset"], state["factor"], state["step"])


@dataclass(frozen=True)
class TwoValued:
    """A boolean, or a number that only ever takes two values: x = 1 for the high one."""

    name: str
    type: pa.DataType
    values: tuple[Any, Any]
    kind: ClassVar[str] = "two_valued"
    block: ClassVar[BlockKind | None] = "boolean"

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        codes = _codes(self.name, values, from_plain(list(self.values), self.type))
        out[:, 0] = codes == 1
        return codes < 0

    def decode(self, x: np.ndarray) -> pa.Array:
        return from_plain(list(self.values), self.type).take(pa.array((x[:, 0] > 0.5).astype(np.int64)))

    def to_exact(self, values: pa.Array) -> np.ndarray:
        return _exact_codes(self.name, values, from_plain(list(self.values), self.type))

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        return _taken(from_plain(list(self.values), self.type), numbers)

    def to_json(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> TwoValued:
        low, high = state["values"]
        return cls(name, kind, (low, high))


@dataclass(frozen=True)
class Category:
    """One of a few values, one-hot; rare ones share a last feature that decodes to the most frequent of them."""

    name: str
    type: pa.DataType
    kept: tuple[Any, ...]
    rare: tuple[Any, ...]
    """Most frequent first."""
    kind: ClassVar[str] = "category"
    block: ClassVar[BlockKind | None] = "category"

    @property
    def width(self) -> int:
        return len(self.kept) + bool(self.rare)

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        codes = _codes(self.name, values, from_plain([*self.kept, *self.rare], self.type))
        known = np.flatnonzero(codes >= 0)
        out[known, np.minimum(codes[known], self.width - 1)] = 1.0
        return codes < 0

    def decode(self, x: np.ndarray) -> pa.Array:
        return from_plain([*self.kept, *self.rare[:1]], self.type).take(pa.array(x.argmax(axis=1)))

    def to_exact(self, values: pa.Array) -> np.ndarray:
        return _exact_codes(self.name, values, from_plain([*self.kept, *self.rare], self.type))

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        return _taken(from_plain([*self.kept, *self.rare], self.type), numbers)

    def to_json(self) -> dict[str, Any]:
        return {"kept": list(self.kept), "rare": list(self.rare)}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> Category:
        return cls(name, kind, tuple(state["kept"]), tuple(state["rare"]))


@dataclass(frozen=True)
class Constant:
    """A column with one value: nothing to encode (but whether it is missing), the value comes back."""

    name: str
    type: pa.DataType
    value: Any
    kind: ClassVar[str] = "constant"
    block: ClassVar[BlockKind | None] = None

    @property
    def width(self) -> int:
        return 0

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        return _is_null(values)

    def decode(self, x: np.ndarray) -> pa.Array:
        return pa.repeat(from_plain([self.value], self.type)[0], len(x))

    def to_exact(self, values: pa.Array) -> np.ndarray:
        return np.where(_is_null(values), np.nan, 0.0)

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        return self.decode(numbers)

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> Constant:
        return cls(name, kind, state["value"])


@dataclass(frozen=True)
class LeftOut:
    """A column nothing can be learned from (all gaps, identifier, free text): it comes back as gaps."""

    name: str
    type: pa.DataType
    kind: ClassVar[str] = "left_out"
    block: ClassVar[BlockKind | None] = None

    @property
    def width(self) -> int:
        return 0

    def encode(self, values: pa.Array, out: np.ndarray) -> np.ndarray:
        return np.zeros(len(values), bool)

    def decode(self, x: np.ndarray) -> pa.Array:
        return pa.nulls(len(x), self.type)

    def to_exact(self, values: pa.Array) -> np.ndarray:
        return np.full(len(values), np.nan)

    def from_exact(self, numbers: np.ndarray) -> pa.Array:
        return self.decode(numbers)

    def to_json(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_json(cls, name: str, kind: pa.DataType, state: dict[str, Any]) -> LeftOut:
        return cls(name, kind)


_KINDS = {each.kind: each for each in (Numeric, Time, TwoValued, Category, Constant, LeftOut)}


def column_to_json(column: Any) -> dict[str, Any]:
    """Write a column of any kind as plain JSON."""
    return {"kind": column.kind, "type": type_to_json(column.type), **column.to_json()}


def column_from_json(name: str, state: dict[str, Any]) -> ColumnKind:
    """Rebuild a column from what column_to_json gave."""
    return _KINDS[state["kind"]].from_json(name, type_from_json(state["type"]), state)


def as_numbers(name: str, values: pa.Array) -> pa.Array:
    """Return values that may stand in a numeric column; text is taken only if all of it reads as numbers."""
    if values.null_count == len(values):
        return pa.nulls(len(values), pa.float64())
    if is_text(values.type):
        return _cast(name, values, pa.float64())
    if pt.is_temporal(values.type):
        raise DataError(f"column {name!r} holds {values.type} values where numbers were; convert it to numbers.")
    return values


def numbers_of(name: str, values: pa.Array) -> np.ndarray:
    """Return Arrow numbers as float64 with NaN at gaps; infinity is a DataError."""
    if pt.is_boolean(values.type):
        values = values.cast(pa.uint8())
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise DataError(
            f"column {name!r} holds {numbers[row]} in row {row}; replace it by a number, or by NaN to call it a gap."
        )
    return numbers


def from_numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return float64 numbers as an Arrow array of a numeric type, rounded and clipped where the type demands it."""
    if pt.is_integer(kind):
        return pa.array(as_dtype(values, np.dtype(kind.to_pandas_dtype())))
    if pt.is_decimal(kind):
        largest = float(10 ** (kind.precision - kind.scale)) * (1 - 2e-16) - 0.5 * 10.0**-kind.scale
        return pa.array(np.clip(values, -largest, largest)).cast(kind)
    return pa.array(values.astype(kind.to_pandas_dtype()))


def ticks_of(values: pa.Array) -> np.ndarray:
    """Return dates, times or durations as int64 counts of their unit, 0 at gaps."""
    if values.type.bit_width == 32:
        values = values.cast(pa.int32())
    return pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)


def from_ticks(ticks: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return int64 counts of the unit of a temporal type as that type."""
    if pt.is_time(kind):
        day = TICKS_PER_DAY[kind.unit]
        ticks = np.clip(ticks, 0, day - 1)
    if kind.bit_width == 32:
        return pa.array(np.clip(ticks, -(2**31) + 1, 2**31 - 1).astype(np.int32)).cast(kind)
    return pa.array(ticks).cast(kind)


TICKS_PER_DAY = {"s": 86400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def to_plain(values: pa.Array) -> list[Any]:
    """Return Arrow values as JSON values: decimals as text, dates and times as counts of their unit."""
    if pt.is_temporal(values.type):
        return ticks_of(values).tolist()
    return [str(value) if isinstance(value, Decimal) else value for value in values.to_pylist()]


def from_plain(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Read Arrow values from what to_plain gave."""
    if pt.is_temporal(kind):
        return from_ticks(np.array(values, np.int64), kind)
    if pt.is_decimal(kind):
        return pa.array([Decimal(value) for value in values], kind)
    if pt.is_float16(kind):
        return pa.array(np.array(values, np.float16))
    return pa.array(values, kind)


def _codes(name: str, values: pa.Array, known: pa.Array) -> np.ndarray:
    """Return the position of each value among the known ones, -1 for gaps and, with one warning, for unseen values."""
    if _is_number(known.type) and _is_number(values.type):  # 1, 1.0 and True are one value
        values, known = values.cast(pa.float64(), safe=False), known.cast(pa.float64(), safe=False)
    values = _cast(name, values, known.type)
    codes = pc.fill_null(pc.index_in(values, value_set=known, skip_nulls=True), -1).to_numpy(zero_copy_only=False)
    unseen = (codes < 0) & ~_is_null(values)
    if unseen.any():
        found = pc.unique(values.filter(pa.array(unseen))).to_pylist()
        shown = ", ".join(repr(value) for value in found[:3]) + (", .." if len(found) > 3 else "")
        warnings.warn(
            f"column {name!r} holds {len(found)} value{'s' if len(found) > 1 else ''} never seen in training ({shown}) "
            f"in {int(unseen.sum())} rows; they count as gaps.",
            DataWarning,
            stacklevel=4,
        )
    return codes


def _exact_codes(name: str, values: pa.Array, known: pa.Array) -> np.ndarray:
    codes = _codes(name, values, known).astype(np.float64)
    return np.where(codes < 0, np.nan, codes)


def _taken(known: pa.Array, codes: np.ndarray) -> pa.Array:
    return known.take(pa.array(np.nan_to_num(codes).astype(np.int64)))


def _cast(name: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast to the learned type, or name the column and the first value that cannot be."""
    if values.type == kind:
        return values
    if values.null_count == len(values):
        return pa.nulls(len(values), kind)
    try:
        return values.cast(kind, safe=not pt.is_floating(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = next(row for row in range(len(values)) if not _casts(values[row], kind))
        wanted = "numbers were" if pt.is_integer(kind) or pt.is_floating(kind) else f"{kind} values were"
        raise DataError(
            f"column {name!r} holds {values[row].as_py()!r} in row {row} where {wanted} in training; "
            "correct the value, or leave the cell empty to call it a gap."
        ) from error


def _casts(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _is_number(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind)


def _is_null(values: pa.Array) -> np.ndarray:
    if values.null_count == 0:
        return np.zeros(len(values), bool)
    return values.is_null().to_numpy(zero_copy_only=False)
