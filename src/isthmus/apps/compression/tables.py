"""Tables <-> matrices of whole numbers, exactly: what every engine sees of a table.

table -- Schema.to_integers --> Cells: X (n, m) int64, outside (n, m), texts         Cells -- to_columns --> Arrow columns

A column of the table is one column of X, led by one of flags where it has gaps (0 there, 1 a gap, 2 NaN). Whole numbers, dates
and truth values are (value - offset) / divisor; floats that are quotients (prices: X / 100) are proved to the bit, others are
their bit patterns in order; texts of few kinds are codes, other texts are kept apart. What does not fit the plan (another
digit, an unseen category) is outside: kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from isthmus.apps.compression import arrow
from isthmus.apps.compression.bounds import Bound
from isthmus.apps.compression.plans import PRESENT, Plan, flags_of
from isthmus.data import frames
from isthmus.data.frames import Column, Dress
from isthmus.errors import DataError, SettingError

_USUAL = {"categories": None, "categories_dtype": None, "nan_gaps": False, "shared": False}
"""What a file does not say of the container of a column."""


class Cells(NamedTuple):
    """Some rows of a table as engines see them, and what no engine sees."""

    X: np.ndarray
    """(n, m) int64."""
    outside: np.ndarray | None
    """(n, m): the cells whose exact value is in ``kept``; None where there are none."""
    kept: np.ndarray
    """int64, one for every cell outside, row by row: a whole number, or the bits of a float."""
    texts: tuple[tuple[str, ...], ...]
    """For every column of texts those of the rows at hand; for every one of codes those that have none."""


@dataclass(frozen=True)
class Schema:
    """The columns of a table in order, how each looked to its user, and how each is whole numbers."""

    plans: tuple[Plan, ...]
    dresses: tuple[Dress, ...]
    family: str
    """ "pandas", "polars" or "pyarrow"."""
    index: tuple[Any, ...] = ()
    """The names of the columns that were the index of a pandas frame."""

    @classmethod
    def fit(cls, table: Any, bounds: Bound | Mapping[str, Bound]) -> Self:
        """Look at every column of ``table`` and find how it is whole numbers."""
        table, index = _unindexed(table)
        given = list(_columns(table))
        names = [column.dress.name for column in given]
        if isinstance(bounds, Mapping):
            stray = next((name for name in bounds if name not in names), None)
            if stray is not None:
                raise SettingError(f"a bound is given for column {stray!r}, but the table has {', '.join(names)}.")
        plans = []
        for dress, values in given:
            own = bounds.get(dress.name, Bound()) if isinstance(bounds, Mapping) else bounds
            plans.append(Plan.fit(dress, values, own))
        return cls(tuple(plans), tuple(dress for dress, _ in given), frames.family_of(table), index)

    @property
    def roles(self) -> tuple[str, ...]:
        """What each column of X is: "flag", "number" or "category"."""
        return tuple(role for plan in self.plans for role in plan.roles)

    @property
    def width(self) -> int:
        """How many columns X has."""
        return len(self.roles)

    def columns_of(self, table: Any) -> list[pa.Array]:
        """Return the columns of another table like the one that was fitted, as Arrow arrays in the learned order."""
        table, _ = _unindexed(table)
        given = {column.dress.name: column for column in _columns(table)}
        for plan in self.plans:
            if plan.name not in given:
                raise DataError(f"the table has no column {plan.name!r}; it must have those that were learned.")
        stray = next((name for name in given if name not in {plan.name for plan in self.plans}), None)
        if stray is not None:
            raise DataError(f"the table has a column {stray!r} that was not learned; leave it out, or fit anew.")
        for dress in self.dresses:
            if given[dress.name].dress.arrow != dress.arrow and not _same_dictionary(given[dress.name].dress, dress):
                raise DataError(
                    f"column {dress.name!r} holds {given[dress.name].dress.arrow}, but {dress.arrow} was learned; convert it, "
                    "or fit anew."
                )
        return [given[plan.name].values for plan in self.plans]

    def to_integers(self, columns: list[pa.Array]) -> Cells:
        """Return some rows, given as Arrow columns, as whole numbers."""
        rows = len(columns[0]) if columns else 0
        X, outside = np.zeros((rows, self.width), np.int64), np.zeros((rows, self.width), bool)
        kept, texts = np.zeros((rows, self.width), np.int64), []
        for (plan, at), dress, values in zip(self._places(), self.dresses, columns, strict=True):
            there = np.ones(rows, bool)
            if plan.flagged:
                X[:, at] = flags = flags_of(values)
                there = flags == PRESENT
                at += 1
            elif values.null_count and plan.kind != "null":
                raise DataError(f"column {plan.name!r} has gaps, but none were learned; fit anew on rows with gaps.")
            if plan.kind == "text":
                texts.append(tuple(values.filter(pa.array(there)).to_pylist()))
            elif plan.kind == "category":
                codes, unseen = arrow.codes_of(values, plan.categories)
                if unseen and dress.categories is not None:
                    raise DataError(
                        f"column {plan.name!r} has no category {unseen[0]!r}; fit anew on rows that have it."
                    )
                X[:, at] = np.where(there, codes, plan.filler)
                texts.append(unseen)
            elif plan.kind != "null":
                X[:, at], outside[:, at] = plan.to_integers(values, there)
                kept[:, at] = plan.kept(values)
        return Cells(X, outside if outside.any() else None, kept[outside], tuple(texts))

    def to_columns(self, cells: Cells) -> list[pa.Array]:
        """Return the rows that ``cells`` hold, as Arrow columns in the learned order."""
        kept = np.zeros(cells.X.shape, np.int64)
        outside = np.zeros(cells.X.shape, bool) if cells.outside is None else cells.outside
        if cells.outside is not None:
            kept[outside] = cells.kept
        columns, texts = [], iter(cells.texts)
        for (plan, at), dress in zip(self._places(), self.dresses, strict=True):
            kind = arrow.stored_type(frames.type_from_json(dress.arrow))
            flags = cells.X[:, at] if plan.flagged else np.zeros(len(cells.X), np.int64)
            at += plan.flagged
            if plan.kind == "null":
                columns.append(pa.nulls(len(cells.X), kind))
            elif plan.kind == "text":
                columns.append(arrow.texts_at(next(texts), flags == PRESENT, kind))
            elif plan.kind == "category":
                columns.append(arrow.decoded(cells.X[:, at], plan.categories, next(texts), flags != PRESENT, kind))
            else:
                columns.append(plan.to_column(cells.X[:, at], outside[:, at], kept[:, at], flags, kind))
        return columns

    def table(self, columns: list[pa.Array], family: str | None = None) -> Any:
        """Return a table of ``family`` (by default that which was fitted, where it is installed)."""
        made = frames.assemble(list(zip(self.dresses, columns, strict=True)), family or self.family, self.family)
        if self.index and frames.family_of(made) == "pandas":
            made = made.set_index([dress.label for dress in self.dresses[: len(self.index)]])
            made.index.names = list(self.index)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain data; categories and names are written once, and what is as usual is left out."""
        dresses = []
        for plan, dress in zip(self.plans, self.dresses, strict=True):
            shared = dress.categories is not None and tuple(dress.categories) == plan.categories
            state = asdict(replace(dress, categories=[] if shared else dress.categories)) | {"shared": shared}
            usual = _USUAL | {"label": plan.name}
            dresses.append({name: value for name, value in state.items() if name not in usual or value != usual[name]})
        plans = [plan.to_json() for plan in self.plans]
        return {"plans": plans, "dresses": dresses, "family": self.family, "index": list(self.index)}

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Rebuild a schema from what ``to_json`` gave."""
        try:
            plans = tuple(Plan.from_json(plan) for plan in state["plans"])
            dresses = []
            for plan, dress in zip(plans, state["dresses"], strict=True):
                full = _USUAL | {"label": plan.name} | dress
                own = {"categories": list(plan.categories)} if full.pop("shared") else {}
                dresses.append(Dress(**full | own))
            return cls(plans, tuple(dresses), state["family"], tuple(state["index"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the file's description of its table makes no sense ({error}); it is damaged.") from error

    def _places(self) -> Iterator[tuple[Plan, int]]:
        """Yield every plan with the first of its columns of X."""
        at = 0
        for plan in self.plans:
            yield plan, at
            at += len(plan.roles)


def _columns(table: Any) -> Iterator[Column]:
    """Yield the columns of a table; where a family tells NaN from null, both are kept."""
    for label, series in zip(frames.labels_of(table), frames.native_columns(table), strict=True):
        column = frames.column(label, series)
        if pt.is_floating(column.values.type):
            raw = series if isinstance(series, pa.ChunkedArray) else series.to_arrow()
            raw = raw.combine_chunks() if isinstance(raw, pa.ChunkedArray) else raw
            column = Column(replace(column.dress, nan_gaps=False), raw)
        yield column


def only_counts(table: Any) -> bool:
    """Say whether the index of a pandas frame tells nothing but which row is which."""
    import pandas as pd

    index = table.index
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None


def _unindexed(table: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a pandas frame with its index, unless it only counts, as first columns, and the names the index had."""
    if frames.family_of(table) != "pandas" or only_counts(table):
        return table, ()
    names = tuple(table.index.names)
    labels = [f"index {place}" if name is None or name in table.columns else name for place, name in enumerate(names)]
    return table.reset_index(names=labels), names


def _same_dictionary(given: Dress, learned: Dress) -> bool:
    return isinstance(given.arrow, dict) and isinstance(learned.arrow, dict) and "dictionary" in learned.arrow
