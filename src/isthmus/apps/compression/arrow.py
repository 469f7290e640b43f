"""Arrow columns <-> numpy: whole numbers, floats, codes and texts, with no value lost on the way."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from isthmus.data import frames

_FEW = 0.25


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column of this type is whole numbers or floats; decimals are where their digits fit into int64."""
    if pt.is_decimal(kind):
        return pt.is_decimal128(kind) and kind.precision <= 18
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_boolean(kind) or pt.is_temporal(kind)


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of canonical columns: no dictionaries, one type of text."""
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    return pa.large_string() if frames.is_text(kind) else kind


def whole_of(values: pa.Array) -> np.ndarray:
    """Return a column of whole numbers, dates, truth values or decimals as int64; 0 where there is a gap."""
    kind = values.type
    if pt.is_decimal(kind):
        words = np.frombuffer(values.buffers()[1], "<i8").reshape(-1, 2)[values.offset : values.offset + len(values), 0]
        return np.where(values.is_valid().to_numpy(zero_copy_only=False), words, 0)
    if pt.is_temporal(kind):
        values = values.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    if values.null_count:
        values = pc.fill_null(values, pa.scalar(False if pt.is_boolean(kind) else 0, values.type))
    numbers = values.to_numpy(zero_copy_only=False)
    return np.array(numbers.view(np.int64) if numbers.dtype == np.uint64 else numbers.astype(np.int64))


def from_whole(whole: np.ndarray, gaps: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return what ``whole_of`` was given, of type ``kind``."""
    mask = gaps if gaps.any() else None
    if pt.is_decimal(kind):
        words = np.stack([whole, whole >> 63], axis=1)
        valid = None if mask is None else pa.py_buffer(np.packbits(~gaps, bitorder="little").tobytes())
        return pa.Array.from_buffers(kind, len(whole), [valid, pa.py_buffer(words.tobytes())])
    if pt.is_temporal(kind):
        narrow = whole.astype(np.int32 if kind.bit_width == 32 else np.int64)
        return pa.array(narrow, mask=mask).view(kind)
    if pt.is_boolean(kind):
        return pa.array(whole.astype(bool), mask=mask)
    return pa.array(whole.astype(kind.to_pandas_dtype()), kind, mask=mask)


def clipped(whole: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """Bring whole numbers into the range of an integer type."""
    if not pt.is_integer(kind) or kind.bit_width == 64:
        return np.maximum(whole, 0) if pt.is_unsigned_integer(kind) else whole
    info = np.iinfo(kind.to_pandas_dtype())
    return np.clip(whole, info.min, info.max)


def floats_of(values: pa.Array) -> np.ndarray:
    """Return a column of floats as numpy; 0 where there is a gap."""
    if values.null_count:
        values = pc.fill_null(values, pa.scalar(0.0, values.type))
    return np.array(values.to_numpy(zero_copy_only=False))


def few_kinds(values: pa.Array, most: int) -> tuple[str, ...] | None:
    """Return the different texts of a column, sorted, where they are few enough to be worth a list."""
    kinds = as_texts(values).unique().drop_null()
    if len(kinds) > min(most, max(16, _FEW * len(values))):
        return None
    return tuple(sorted(kinds.to_pylist()))


def as_texts(values: pa.Array) -> pa.Array:
    """Return a column that is no number as texts."""
    return values.cast(pa.large_string())


def codes_of(values: pa.Array, categories: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the place of each text among ``categories``, len(categories) where it is none, and those texts in order."""
    texts = as_texts(values)
    codes = pc.index_in(texts, value_set=pa.array(categories, pa.large_string()))
    strange = pc.and_(codes.is_null(), texts.is_valid())
    found = pc.fill_null(codes, len(categories)).to_numpy(zero_copy_only=False).astype(np.int64)
    return found, tuple(texts.filter(strange).to_pylist()) if pc.any(strange).as_py() else ()


def decoded(
    codes: np.ndarray, categories: tuple[str, ...], unseen: tuple[str, ...], gaps: np.ndarray, kind: pa.DataType
) -> pa.Array:
    """Return what ``codes_of`` was given."""
    known = np.where(gaps | (codes >= len(categories)), 0, codes)
    strange = ~gaps & (codes >= len(categories))
    names = pa.array([*categories, *unseen], pa.large_string())
    known[strange] = len(categories) + np.arange(int(strange.sum()))
    return names.take(pa.array(known, mask=gaps)).cast(kind)


def texts_at(texts: tuple[str, ...], there: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return a column with ``texts`` where ``there``, gaps elsewhere."""
    place = np.cumsum(there) - 1
    return pa.array(texts, pa.large_string()).take(pa.array(np.maximum(place, 0), mask=~there)).cast(kind)
