"""The stated rules by which a table column becomes numeric, boolean, categorical, or is left out."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from .columns import (
    TICKS_PER_DAY,
    Category,
    ColumnKind,
    Constant,
    LeftOut,
    Numeric,
    Time,
    TwoValued,
    as_numbers,
    numbers_of,
    ticks_of,
    to_plain,
)
from .frames import Column, is_text
from .scaling import Scale, guard

FEWEST_ROWS_OF_AN_IDENTIFIER = 20
"""Below it, all values being different says nothing."""
MOST_CATEGORIES = 100
KNEE = 10.0
"""Where the linear scale of a column with stray values turns logarithmic, in standard deviations of the others."""
_LOOKS_LIKE_ID = re.compile(r"(^|[\W_])(id|idx|index|key|uuid|guid|rowid|rownum)s?($|[\W_])", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z]I[dD]$")


class Learned(NamedTuple):
    """What became of a column, the note that says so where it is not obvious, and whether it is an identifier."""

    column: ColumnKind
    note: str | None = None
    leak: bool = False


def learn_column(column: Column, scale: Scale) -> Learned:
    """Choose the kind of one column by the stated rules."""
    name, values = column.dress.name, column.values
    present = values.drop_null()
    if len(present) == 0:
        return Learned(LeftOut(name, values.type), f"column {name!r} holds only gaps; it is left out and comes back so")
    if pt.is_temporal(values.type):
        return _time(name, present, scale)
    if column.dress.categories is not None or is_text(values.type):
        return _category(name, values, present, column.dress.categories)
    if pt.is_boolean(values.type):
        two = len(pc.unique(present)) == 2
        return Learned(TwoValued(name, values.type, (False, True))) if two else _constant(name, present)
    return _numeric(name, present, scale)


def _numeric(name: str, present: pa.Array, scale: Scale) -> Learned:
    numbers = numbers_of(name, as_numbers(name, present))
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return _constant(name, present)
    whole = pt.is_integer(present.type) or bool((numbers == np.rint(numbers)).all())
    if whole and bool(((numbers == low) | (numbers == high)).all()):
        return Learned(TwoValued(name, present.type, _ends(present)))
    if pt.is_integer(present.type) and _is_row_number(name, present, low, high):
        return _identifier(name, present)
    strays = _strays(numbers) if scale == "columns" else None
    if strays is None:
        return Learned(Numeric(name, present.type, *_scaling(numbers, scale)))
    offset, factor = _scaling(numbers[~strays], scale)
    count, farthest = int(strays.sum()), float(numbers[strays][np.abs(numbers[strays] - offset).argmax()])
    note = (
        f"column {name!r} has {count} stray value{'s' if count > 1 else ''} (such as {farthest:g}) that would dwarf all "
        f"others; the scale comes from the rest, and values beyond {KNEE:g} standard deviations count by their logarithm"
    )
    return Learned(Numeric(name, present.type, offset, factor, KNEE), note)


def _strays(numbers: np.ndarray) -> np.ndarray | None:
    """Return a mask of the farthest thousandth of the values when they make the standard deviation ten times as large."""
    if len(numbers) < FEWEST_ROWS_OF_AN_IDENTIFIER:
        return None
    distance = np.abs(numbers - np.median(numbers))
    count = max(1, len(numbers) // 1000)
    strays = np.zeros(len(numbers), bool)
    strays[np.argpartition(distance, -count)[-count:]] = True
    size = float(distance.max())
    rest = float((numbers[~strays] / size).std())
    return strays if 1e-12 < rest < float((numbers / size).std()) / 10 else None


def _ends(present: pa.Array) -> tuple[Any, Any]:
    low, high = to_plain(pc.unique(present).sort())
    return low, high


def _is_row_number(name: str, present: pa.Array, low: float, high: float) -> bool:
    """Integers that are all different, and consecutive or called an id."""
    rows = len(present)
    if rows < FEWEST_ROWS_OF_AN_IDENTIFIER or high - low + 1 < rows:
        return False
    consecutive = high - low + 1 == rows
    return (consecutive or _called_id(name)) and pc.count_distinct(present).as_py() == rows


def _called_id(name: str) -> bool:
    return bool(_LOOKS_LIKE_ID.search(name) or _CAMEL_ID.search(name))


def _time(name: str, present: pa.Array, scale: Scale) -> Learned:
    """Learn a time; it is standardised for every scale but "range", because raw counts of nanoseconds are no input."""
    ticks = ticks_of(present)
    origin = int(ticks.min())
    if origin == ticks.max():
        return _constant(name, present)
    moved = (ticks - origin).astype(np.float64)
    offset, factor = _scaling(moved, "range" if scale == "range" else "columns")
    return Learned(Time(name, present.type, origin, offset, factor, _common_step(ticks, present.type)))


def _common_step(ticks: np.ndarray, kind: pa.DataType) -> int:
    """Return the ticks of the largest unit (day, hour, minute, second, ms, us) that all values are multiples of."""
    if pt.is_date32(kind):
        return 1
    day = TICKS_PER_DAY["ms" if pt.is_date64(kind) else kind.unit]
    parts = (1, 24, 1440, 86400, 86_400_000, 86_400_000_000)
    units = [day // part for part in parts if day % part == 0]
    return next((unit for unit in units if not (ticks % unit).any()), 1)


def _category(name: str, values: pa.Array, present: pa.Array, declared: list[Any] | None) -> Learned:
    counted = pc.value_counts(present)
    counts, found = counted.field("counts").to_numpy(), counted.field("values")
    if len(counts) == 1:
        return _constant(name, present)
    rows = len(present)
    if len(counts) == rows and rows >= FEWEST_ROWS_OF_AN_IDENTIFIER:
        return _identifier(name, present)
    if is_text(values.type) and declared is None and len(counts) > 100 and len(counts) > rows / 2:
        note = (
            f"column {name!r} holds free text ({len(counts)} different values in {rows} rows); "
            "it is left out and comes back as gaps"
        )
        return Learned(LeftOut(name, values.type), note)
    order = np.argsort(_ranks(found, declared), kind="stable")
    plain, counts = to_plain(found.take(pa.array(order))), counts[order]
    keep = _kept(counts, len(values))
    rare = sorted(np.flatnonzero(~keep), key=lambda i: -counts[i])
    kept_values = tuple(plain[i] for i in np.flatnonzero(keep))
    column = Category(name, values.type, kept_values, tuple(plain[i] for i in rare))
    if not rare:
        return Learned(column)
    note = (
        f"column {name!r} has {len(rare)} rare categories (of {len(counts)}) that are treated as one; "
        f"in results it reads {plain[rare[0]]!r}, the most frequent of them"
    )
    return Learned(column, note)


def _ranks(found: pa.Array, declared: list[Any] | None) -> np.ndarray:
    """Return where each category belongs: in the declared order, else sorted."""
    if declared is not None:
        return pc.index_in(found, value_set=pa.array(declared, found.type)).to_numpy(zero_copy_only=False)
    ranks = np.empty(len(found), np.int64)
    ranks[pc.sort_indices(found).to_numpy()] = np.arange(len(found))
    return ranks


def _kept(counts: np.ndarray, rows: int) -> np.ndarray:
    """Return which categories get a feature of their own: frequent enough, and among the most frequent."""
    # In a handful of rows everything is rare, and a feature each costs nothing.
    fewest = max(2.0, 0.001 * rows) if rows >= FEWEST_ROWS_OF_AN_IDENTIFIER else 1.0
    keep = np.zeros(len(counts), bool)
    keep[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]] = True
    keep &= counts >= fewest
    # A bucket of one is no wider than the category itself; a bucket of all says nothing.
    if (~keep).sum() == 1 or not keep.any():
        keep[np.argsort(-counts, kind="stable")[: MOST_CATEGORIES + ((~keep).sum() == 1)]] = True
    return keep


def _constant(name: str, present: pa.Array) -> Learned:
    value = to_plain(present[:1])[0]
    note = f"column {name!r} is always {present[0].as_py()!r}; its value is not encoded and comes back as it is"
    return Learned(Constant(name, present.type, value), note)


def _identifier(name: str, present: pa.Array) -> Learned:
    note = (
        f"column {name!r} looks like an identifier ({len(present)} different values in {len(present)} rows); "
        "it is left out and comes back as gaps"
    )
    return Learned(LeftOut(name, present.type), note, leak=True)


def _scaling(numbers: np.ndarray, scale: Scale) -> tuple[float, float]:
    """Return offset and factor of one numeric column."""
    size = float(np.abs(numbers).max())
    if scale == "none":
        return 0.0, 1.0
    if scale == "range":
        return float(numbers.min()), float(guard(numbers.max() - numbers.min(), size))
    # Divided by the largest number first, because squares of 1e200 do not fit into float64.
    relative = numbers / size
    return float(relative.mean() * size), float(guard(relative.std() * size, size))
