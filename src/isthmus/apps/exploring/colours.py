"""What the points of a map are coloured by: one value a row, as groups or as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

MOST_GROUPS = 10
"""So many groups have a colour of their own, the most frequent; the others share one."""
FEW_NUMBERS = 20
"""Whole numbers of at most so many values are groups."""
OTHERS = "others"


@dataclass(frozen=True)
class Colour:
    """One way to colour the points."""

    name: str
    read: Callable[[], np.ndarray]
    """Returns one value a row: (n,) of numbers, text, dates, booleans; None and NaN are gaps. Called when first needed."""

    @cached_property
    def _read(self) -> np.ndarray:
        return np.asarray(self.read())

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups; empty where values are numbers."""
        raw = self._read
        if raw.dtype.kind == "f" or raw.dtype.kind in "mM":
            return ()
        if raw.dtype.kind in "iu" and len(np.unique(raw)) > FEW_NUMBERS:
            return ()
        names, counts = np.unique(self._texts[~self._gaps], return_counts=True)
        if len(names) <= MOST_GROUPS:
            return tuple(_sorted(names.tolist()))
        frequent = names[np.argsort(-counts, kind="stable")[: MOST_GROUPS - 1]]
        return (*_sorted(frequent.tolist()), OTHERS)

    @cached_property
    def values(self) -> np.ndarray:
        """(n,) float64: the place of its group, or the number; NaN where there is a gap."""
        if not self.groups:
            raw = self._read
            if raw.dtype.kind in "mM":
                stamps = raw.astype("datetime64[s]" if raw.dtype.kind == "M" else "timedelta64[s]")
                return np.where(np.isnat(raw), np.nan, stamps.astype(np.float64))
            if raw.dtype.kind == "O":
                return np.full(len(raw), np.nan)
            return raw.astype(np.float64)
        places = {name: place for place, name in enumerate(self.groups)}
        other = places.get(OTHERS, np.nan)
        found, inverse = np.unique(self._texts, return_inverse=True)
        coded = np.array([places.get(name, other) for name in found.tolist()], np.float64)[inverse]
        return np.where(self._gaps, np.nan, coded)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Where the scale of numbers begins and ends: one extreme row must not leave all others in a single colour."""
        finite = self.values[np.isfinite(self.values)]
        if not len(finite):
            return 0.0, 1.0
        low, high = float(finite.min()), float(np.percentile(finite, 98))
        return low, high if high > low else low + 1.0

    def value(self, row: int) -> Any:
        """Return what a row has, as it was given."""
        value = self._read[row]
        return value.item() if isinstance(value, np.generic) and self._read.dtype.kind not in "mM" else value

    @cached_property
    def _texts(self) -> np.ndarray:
        return np.array([str(value) for value in self._read.tolist()], object).astype(str)

    @cached_property
    def _gaps(self) -> np.ndarray:
        raw = self._read
        if raw.dtype.kind != "O":
            return np.zeros(len(raw), bool)
        return np.array([value is None or value != value for value in raw.tolist()], bool)

    def to_dict(self) -> dict[str, Any]:
        """Return what a legend shows."""
        shown: dict[str, Any] = {"name": self.name, "groups": list(self.groups)}
        return shown if self.groups else shown | {"bounds": list(self.bounds)}


def columns_of(table: Any) -> list[Colour]:
    """Return a way to colour for each column of a table whose values repeat or are numbers."""
    import narwhals as nw

    frame = nw.from_native(table, eager_only=True)
    return [Colour(str(name), lambda name=name: _column(frame[name])) for name in frame.columns]


def _column(series: Any) -> np.ndarray:
    """Return a column as numpy: numbers as float64 with NaN for gaps, anything else as objects with None."""
    kind = series.dtype
    if kind.is_temporal():
        return series.to_numpy().astype("datetime64[ns]" if "Date" in str(kind) else "timedelta64[ns]")
    gaps = series.is_null().to_list()
    values = [None if gap else value for value, gap in zip(series.to_list(), gaps, strict=True)]
    if kind.is_integer() and not any(gaps):
        return np.array(values)
    if kind.is_numeric():
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        whole = numbers[np.isfinite(numbers)]
        is_whole = kind.is_integer() or (len(whole) and (whole == np.rint(whole)).all())
        if is_whole and len(np.unique(whole)) <= FEW_NUMBERS:  # whole numbers with gaps come as floats
            return np.array([None if value != value else int(value) for value in numbers], object)
        return numbers
    return np.array(values, object)


def _sorted(names: list[str]) -> list[str]:
    """Sort numbers by value, all else by name."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
