"""Tables of mixed columns, with gaps: an invertible codec between data frames and float32 rows.

column 'age'  -> [numeric] [gap]          one block per column that is encoded,
column 'city' -> [a b c rare] [gap]       a gap indicator behind it where training data had gaps
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from ..layout import Block, Layout
from . import frames, memory
from .arrays import as_numbers as array_of_numbers
from .columns import ColumnKind, Constant, LeftOut, Numeric, TwoValued, column_from_json, column_to_json
from .containers import is_table
from .frames import Column, Dress
from .learning import learn_column
from .rows import DenseRows, Rows
from .scaling import Scale, resolve

FORMAT = 1


class Field(NamedTuple):
    """A column of the table, how it is encoded, and where."""

    dress: Dress
    column: ColumnKind
    start: int
    gap: int | None
    """The feature that says "missing"; None where training data had no gaps."""

    @property
    def features(self) -> slice:
        return slice(self.start, self.start + self.column.width)


@dataclass(frozen=True)
class TableCodec:
    """Mixed columns <-> float32 rows; every column comes back with its name, place, dtype and categories."""

    fields: tuple[Field, ...]
    family: str
    """ "pandas", "polars" or "pyarrow"."""
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "table"

    @property
    def layout(self) -> Layout:
        return self._layout

    @cached_property
    def _layout(self) -> Layout:
        blocks: list[Block] = []
        for each in self.fields:
            if each.column.block is not None:
                blocks.append(Block(each.column.block, each.start, each.column.width, each.dress.name))
            if each.gap is not None:
                blocks.append(Block("boolean", each.gap, 1, each.dress.name, gap=True))
        return Layout((_size(self.fields),), tuple(blocks))

    @property
    def feature_names(self) -> list[str] | None:
        return [each.dress.name for each in self.fields]

    def encode(self, X: Any) -> Rows:
        rows, columns = self._columns(X)
        width = _size(self.fields)
        memory.require(rows, width)
        x = np.zeros((rows, width), np.float32)
        observed = None
        for each, values in zip(self.fields, columns, strict=True):
            missing = each.column.encode(values, x[:, each.features])
            if not missing.any():
                continue
            if each.column.width:
                observed = np.ones(x.shape, bool) if observed is None else observed
                observed[:, each.features] = ~missing[:, None]
            if each.gap is not None:
                x[:, each.gap] = missing
        return DenseRows(x, observed)

    def view(self, X: Any) -> Rows:
        return self.encode(X)

    def decode(self, x: np.ndarray) -> Any:
        return frames.assemble(self._decoded(x), self.family, self.family)

    def decode_as(self, x: np.ndarray, template: Any, exact: np.ndarray | None = None) -> Any:
        """Decode into the family of ``template``; a pandas index of the same length is kept.

        Cells of ``exact`` (n, columns), as :meth:`exact` gives them, take the place of what ``x`` says; NaN does not.
        """
        if not is_table(template):
            return self._matrix(x, exact)
        family = frames.family_of(template)
        index = template.index if family == "pandas" and len(template) == len(x) else None
        return frames.assemble(self._decoded(x, exact), family, self.family, index)

    def exact(self, X: Any) -> np.ndarray:
        """Return a table as float64 (n, columns), NaN at gaps: numbers as they are, categories by their place."""
        rows, columns = self._columns(X)
        values = [each.column.to_exact(given) for each, given in zip(self.fields, columns, strict=True)]
        return np.stack(values, 1) if values else np.zeros((rows, 0))

    def from_exact(self, values: np.ndarray) -> Any:
        """Return the table whose cells :meth:`exact` gave."""
        columns = []
        for each, numbers in zip(self.fields, values.T, strict=True):
            cells = each.column.from_exact(numbers)
            gap = pa.array(np.isnan(numbers))
            columns.append((each.dress, pc.if_else(gap, pa.scalar(None, cells.type), cells)))
        return frames.assemble(columns, self.family, self.family)

    def to_json(self) -> dict[str, Any]:
        fields = [
            {"dress": each.dress.to_json(), "column": column_to_json(each.column), "gaps": each.gap is not None}
            for each in self.fields
        ]
        return {
            "kind": self.kind,
            "format": FORMAT,
            "family": self.family,
            "fields": fields,
            "notes": self.notes,
            "leaks": self.leaks,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _decoded(self, x: np.ndarray, exact: np.ndarray | None = None) -> list[tuple[Dress, pa.Array]]:
        x = np.asarray(x)
        decoded = []
        for place, each in enumerate(self.fields):
            values = each.column.decode(x[:, each.features])
            if exact is not None and not (unknown := np.isnan(exact[:, place])).all():
                values = pc.if_else(pa.array(unknown), values, each.column.from_exact(exact[:, place]))
            if each.gap is not None:
                gap = pa.array(x[:, each.gap] > 0.5)
                values = pc.if_else(gap, pa.scalar(None, values.type), values)
            decoded.append((each.dress, values))
        return decoded

    def _matrix(self, x: np.ndarray, exact: np.ndarray | None = None) -> np.ndarray:
        """Decode into a float64 array (n, columns) for those who gave one."""
        names = [each.dress.name for each in self.fields if not _fits_an_array(each)]
        if names:
            raise DataError(f"column {names[0]!r} is not numeric; decode into a DataFrame instead of an array.")
        columns = [values.cast(pa.float64(), safe=False) for _, values in self._decoded(x, exact)]
        return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)

    def _columns(self, X: Any) -> tuple[int, Iterator[pa.Array]]:
        """Return the number of rows of X and the learned columns of it, in the learned order."""
        if not is_table(X):
            matrix = self._numbers(X)
            return len(matrix), (pa.array(matrix[:, i], from_pandas=True) for i in range(matrix.shape[1]))
        X = X.collect() if hasattr(X, "collect") else X
        labels = [str(label) for label in frames.labels_of(X)]
        names = [each.dress.name for each in self.fields]
        if set(labels) != set(names):
            raise DataError(_wrong_columns(names, labels))
        by_name = dict(zip(labels, frames.native_columns(X), strict=True))
        return frames.length_of(X), (frames.column(name, by_name[name]).values for name in names)

    def _numbers(self, X: Any) -> np.ndarray:
        """Take an array in place of a table that has nothing but numbers."""
        text = [each.dress.name for each in self.fields if not _fits_an_array(each)]
        if text:
            raise DataError(
                f"the model was trained on a table whose column {text[0]!r} is not numeric; give it a DataFrame "
                f"with the columns {_listed([each.dress.name for each in self.fields])}."
            )
        matrix = array_of_numbers(X)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.fields):
            raise DataError(
                f"X has shape {matrix.shape}, but the model is expecting {len(self.fields)} features as input; "
                f"give it the columns {_listed([each.dress.name for each in self.fields])}."
            )
        return matrix


def learn_table(X: Any, scale: str = "auto") -> TableCodec:
    """Learn the codec of a table; "auto" standardises its numeric columns."""
    resolved = resolve(scale, "columns")
    X = X.collect() if hasattr(X, "collect") else X
    labels = frames.labels_of(X)
    if frames.length_of(X) == 0:
        raise DataError(f"Found array with 0 sample(s) ({len(labels)} columns) while a minimum of 1 is required.")
    fields: list[Field] = []
    notes, leaks, start = [], [], 0
    for each in frames.columns_of(X):
        made, note, leak = learn_column(each, resolved)
        notes += [] if note is None else [note]
        leaks += [each.dress.name] if leak else []
        has_gaps = each.values.null_count > 0 and not isinstance(made, LeftOut)
        fields.append(_placed(each, made, start, has_gaps))
        start += made.width + has_gaps
    if start == 0:
        raise DataError(_nothing_left(notes, len(labels)))
    memory.require(frames.length_of(X), start)
    return TableCodec(_one_scale(tuple(fields), resolved), frames.family_of(X), notes, leaks)


def table_from(state: dict[str, Any]) -> TableCodec:
    """Rebuild a TableCodec from what to_json gave."""
    fields, start = [], 0
    for each in state["fields"]:
        dress = Dress(**each["dress"])
        column = column_from_json(dress.name, each["column"])
        fields.append(Field(dress, column, start, start + column.width if each["gaps"] else None))
        start += column.width + each["gaps"]
    return TableCodec(tuple(fields), state["family"], list(state["notes"]), list(state["leaks"]))


def _placed(each: Column, made: ColumnKind, start: int, has_gaps: bool) -> Field:
    return Field(each.dress, made, start, start + made.width if has_gaps else None)


def _one_scale(fields: tuple[Field, ...], scale: Scale) -> tuple[Field, ...]:
    """For scale="common", divide every numeric column by the root mean variance of all of them."""
    factors = [each.column.factor for each in fields if isinstance(each.column, Numeric)]
    if scale != "common" or not factors:
        return fields
    factor = float(np.sqrt(np.mean(np.square(factors))))
    return tuple(
        each._replace(column=replace(each.column, factor=factor)) if isinstance(each.column, Numeric) else each
        for each in fields
    )


def _size(fields: tuple[Field, ...]) -> int:
    return sum(each.column.width + (each.gap is not None) for each in fields)


def _fits_an_array(each: Field) -> bool:
    if isinstance(each.column, Constant | LeftOut):
        return not frames.is_text(each.column.type)
    return isinstance(each.column, Numeric | TwoValued)


def _wrong_columns(names: list[str], given: list[str]) -> str:
    missing = [name for name in names if name not in given]
    extra = [name for name in given if name not in names]
    parts = [
        f"column{'s' * (len(some) > 1)} {_listed(some)} {what}"
        for some, what in ((missing, "missing"), (extra, "unknown to the model"))
        if some
    ]
    return f"the table does not have the columns of the training data: {'; '.join(parts)}. Give it the same columns."


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _nothing_left(notes: list[str], columns: int) -> str:
    reasons = "; ".join(notes[:3]) + ("; .." if len(notes) > 3 else "")
    return (
        f"none of the {columns} columns can be learned from: {reasons or 'there is none'}. Give more columns or rows."
    )
