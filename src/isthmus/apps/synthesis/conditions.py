"""What rows must be: a value, one of several, a range of numbers, or a gap, column by column."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.apps.synthesis.coding import Coding, Column
from isthmus.data.columns import ColumnKind
from isthmus.errors import DataError, DataWarning, SettingError

SHOWN = 8
"""How many categories an error lists."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What the cells of one column must be."""

    text: str
    values: np.ndarray | None
    """Any of these; NaN is a gap."""
    low: float = -np.inf
    high: float = np.inf

    def meets(self, cells: np.ndarray) -> np.ndarray:
        """Say which cells (n,) are so."""
        if self.values is None:
            return (cells >= self.low) & (cells <= self.high)
        return np.isin(cells, self.values) | (np.isnan(cells) & np.isnan(self.values).any())


def resolve(coding: Coding, where: Mapping[str, Any] | None) -> dict[int, Condition]:
    """Return the condition of each column, by its place in the chain."""
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        raise SettingError(f"where={where!r} must name columns, as in where={{'income': '>50K', 'age': (30, 40)}}.")
    return {place_of(coding, name): _condition(coding, place_of(coding, name), wish) for name, wish in where.items()}


def place_of(coding: Coding, name: str) -> int:
    """Return where a column stands in the chain."""
    names = [column.name for column in coding.columns]
    if str(name) in names:
        return names.index(str(name))
    every = coding.codec.feature_names or []
    if str(name) in every:
        raise DataError(f"column {name!r} is not drawn: it holds one value only, or nothing that can be learned.")
    raise DataError(f"there is no column {name!r}; the table has {', '.join(every)}.")


def _condition(coding: Coding, place: int, wish: Any) -> Condition:
    column = coding.columns[place]
    kind = coding.codec.fields[column.place].column
    text = f"{column.name}={_told(wish)}"
    if isinstance(wish, tuple):
        return _range(column, kind, wish, text)
    wishes = list(wish) if isinstance(wish, (list, set, frozenset, np.ndarray)) else [wish]
    if not wishes:
        raise SettingError(f"where: column {column.name!r} may be none of no values; name at least one.")
    values = np.array([_exact(column, kind, each) for each in wishes])
    if column.smooth and not np.isnan(values).all():
        raise SettingError(
            f"column {column.name!r} takes more values than are told apart; give a range of it instead of {text}."
        )
    for value, each in zip(values, wishes, strict=True):
        if not _known(column, value):
            raise DataError(f"no row of the training data has {column.name}={_told(each)}; {_has(column, kind)}.")
    return Condition(text, values)


def _range(column: Column, kind: ColumnKind, wish: tuple[Any, ...], text: str) -> Condition:
    if not column.number:
        raise SettingError(f"column {column.name!r} has no range, as {text} would be; {_has(column, kind)}.")
    if len(wish) != 2:
        raise SettingError(f"where: a range is (low, high), None for an open end; {column.name!r} got {wish!r}.")
    ends = (-np.inf, np.inf)
    low, high = (end if each is None else _exact(column, kind, each) for each, end in zip(wish, ends, strict=True))
    known = column.known
    inside = (known >= low) & (known <= high)
    if not inside.any() and not (column.smooth and known[0] <= low <= high <= known[-1]):
        raise DataError(f"no row of the training data has {text}; {_has(column, kind)}.")
    return Condition(text, None, low, high)


def _exact(column: Column, kind: ColumnKind, value: Any) -> float:
    """Return a value as the float that stands for it, NaN for a gap."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return np.nan
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            found = float(kind.to_exact(pa.array([value.item() if isinstance(value, np.generic) else value]))[0])
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"{value!r} is no value of column {column.name!r}; {_has(column, kind)}.") from error
    if np.isnan(found):
        raise DataError(f"no row of the training data has {column.name}={value}; {_has(column, kind)}.")
    return found


def _known(column: Column, value: float) -> bool:
    return column.gaps if np.isnan(value) else bool((column.known == value).any())


def _has(column: Column, kind: ColumnKind) -> str:
    """Say what a column holds."""
    if column.number:
        low, high = kind.from_exact(column.known[[0, -1]]).to_pylist()
        return f"it runs from {low} to {high}" + (" and has gaps" if column.gaps else "")
    common = np.argsort(-column.counts[: len(column.known)], kind="stable")[:SHOWN]
    names = [str(name) for name in kind.from_exact(column.known[common]).to_pylist()]
    return f"it holds {', '.join(names)}" + (", .." if len(column.known) > SHOWN else "")


def _told(wish: Any) -> str:
    if isinstance(wish, tuple):
        return "..".join("" if end is None else str(end) for end in wish)
    if isinstance(wish, (list, set, frozenset, np.ndarray)):
        return " or ".join(str(each) for each in wish)
    return "a gap" if wish is None else str(wish)
