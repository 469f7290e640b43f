"""How one column of a table is whole numbers: found out once, proved for every cell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from isthmus.apps.compression import arrow
from isthmus.apps.compression.bounds import Bound, bits_of
from isthmus.apps.compression.grid import Grid
from isthmus.data import frames
from isthmus.data.frames import Dress
from isthmus.errors import SettingError

PRESENT, GAP, NOT_A_NUMBER = 0, 1, 2
"""What a column of flags holds."""
_MOST_CATEGORIES = 1 << 16
_LARGEST = 2**62


@dataclass(frozen=True)
class Plan:
    """How one column of a table is whole numbers."""

    name: str
    kind: str
    """ "whole", "float", "category", "text" or "null"."""
    flagged: bool
    """Whether a column of flags stands before it."""
    offset: int = 0
    divisor: int = 1
    grid: Grid | None = None
    bound: Bound = field(default_factory=Bound)
    categories: tuple[str, ...] = ()
    filler: int = 0
    """What X holds where there is nothing to hold."""

    @classmethod
    def fit(cls, dress: Dress, values: pa.Array, bound: Bound) -> Self:
        """Find how a column is whole numbers."""
        kind = values.type
        if pt.is_null(kind):
            return cls(dress.name, "null", False)
        present = flags_of(values) == PRESENT
        plan = cls(dress.name, "text", not present.all())
        if dress.categories is not None and frames.is_text(kind):
            return replace(plan, kind="category", categories=tuple(dress.categories))
        if not arrow.is_number(kind):
            names = arrow.few_kinds(values, _MOST_CATEGORIES)
            return plan if names is None else replace(plan, kind="category", categories=names)
        values = values.filter(pa.array(present)) if plan.flagged else values
        if not pt.is_floating(kind):
            whole = arrow.whole_of(values)
            reach = int(bound.resolve(whole).value) if pt.is_integer(kind) and bound.kind in ("abs", "rel") else 0
            plan = replace(plan, kind="whole", bound=Bound("abs", reach) if reach else Bound())
            return plan._measured(whole)
        if bound.kind not in ("lossless", "abs", "rel"):
            raise SettingError(f"{bound.kind}: tables take lossless, abs and rel; give one of them.")
        floats = arrow.floats_of(values)
        bound = bound.resolve(floats)
        grid = Grid.fit(floats, bound, stride=1)
        return replace(plan, kind="float", grid=grid, bound=bound)._measured(grid.to_integers(floats).X)

    @property
    def roles(self) -> tuple[str, ...]:
        """What each of its columns of X is: "flag", "number" or "category"."""
        value = {"whole": ("number",), "float": ("number",), "category": ("category",)}.get(self.kind, ())
        return (("flag",) if self.flagged else ()) + value

    def _measured(self, X: np.ndarray) -> Self:
        """Add offset and divisor: the smallest value, and what all differences are multiples of; under a bound, its steps."""
        if not len(X):
            return self
        low, high = int(X.min()), int(X.max())
        if high - low >= _LARGEST or (self.grid is not None and self.grid.kind == "patterns"):
            return replace(self, filler=int(np.sort(X)[len(X) // 2]))
        divisor = 2 * int(self.bound.value) + 1 if self._rounds else int(np.gcd.reduce(X - low)) or 1
        kinds, counts = np.unique((X - low + (divisor // 2 if self._rounds else 0)) // divisor, return_counts=True)
        return replace(self, offset=low, divisor=divisor, filler=int(kinds[counts.argmax()]))

    @property
    def _rounds(self) -> bool:
        """Whether whole numbers are brought to multiples of an odd divisor; floats are rounded by their grid."""
        return self.kind == "whole" and not self.bound.is_exact

    def to_integers(self, values: pa.Array, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n,) of a column of numbers, and which cells are outside."""
        raw = X = self.raw(values)
        outside = np.zeros(len(X), bool)
        if self.grid is not None:
            X, gone, _ = self.grid.to_integers(X)
            outside |= False if gone is None else gone
        if self.offset or self.divisor > 1:
            outside |= (self.offset - _LARGEST > X) | (self.offset + _LARGEST < X)
            shifted = np.where(outside, 0, X - self.offset)
            X = (shifted + (self.divisor // 2 if self._rounds else 0)) // self.divisor
        outside |= self.bound.violations(raw, self.to_numbers(X, values.type))  # the proof
        outside &= there
        return np.where(there & ~outside, X, self.filler), outside

    def to_numbers(self, X: np.ndarray, kind: pa.DataType) -> np.ndarray:
        """Return the numbers that X stands for: int64, or floats."""
        whole = X * self.divisor + self.offset
        if self.grid is not None:
            return self.grid.to_values(whole)
        return arrow.clipped(whole, kind) if self._rounds else whole

    def to_column(
        self, X: np.ndarray, outside: np.ndarray, kept: np.ndarray, flags: np.ndarray, kind: pa.DataType
    ) -> pa.Array:
        """Return the column of numbers that X stands for, with what was kept where it is outside."""
        values = self.to_numbers(X, kind)
        if self.grid is None:
            return arrow.from_whole(np.where(outside, kept, values), flags != PRESENT, kind)
        values = np.where(outside, kept.astype(f"u{values.dtype.itemsize}").view(values.dtype), values)
        values[flags == NOT_A_NUMBER] = np.nan
        return pa.array(values, kind, mask=flags == GAP)

    def raw(self, values: pa.Array) -> np.ndarray:
        """Return the numbers of a column: int64, or floats; where there is a gap, anything."""
        return arrow.floats_of(values) if self.kind == "float" else arrow.whole_of(values)

    def kept(self, values: pa.Array) -> np.ndarray:
        """Return the numbers of a column as they are kept where they are outside: int64."""
        raw = self.raw(values)
        return raw if raw.dtype == np.int64 else bits_of(raw).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data; what is as usual is left out."""
        plain = Plan(self.name, self.kind, self.flagged)
        state = {name: value for name, value in vars(self).items() if value != getattr(plain, name)}
        grid = {} if self.grid is None else {"grid": self.grid.to_json()}
        bound = {} if self.bound.is_exact else {"bound": self.bound.to_json()}
        flagged = {"flagged": True} if self.flagged else {}
        return {"name": self.name, "kind": self.kind} | flagged | state | grid | bound

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Rebuild a plan from what ``to_json`` gave."""
        known = {"grid": Grid.from_json, "bound": lambda value: Bound(**value), "categories": tuple}
        full: dict[str, Any] = {"flagged": False} | state
        return cls(**{name: known[name](value) if name in known else value for name, value in full.items()})


def flags_of(values: pa.Array) -> np.ndarray:
    """Return what each cell is: PRESENT, GAP or NOT_A_NUMBER (the usual one: others are values, kept by their bits)."""
    flags = np.where(values.is_null().to_numpy(zero_copy_only=False), GAP, PRESENT)
    if pt.is_floating(values.type):
        raw = arrow.floats_of(values)
        flags[bits_of(raw) == bits_of(np.full(1, np.nan, raw.dtype))] = NOT_A_NUMBER
    return flags
