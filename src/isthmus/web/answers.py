"""What goes back: arrays and tables -> JSON, .npy, Arrow, Parquet, or bare float32 columns."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from isthmus.apps.words import plain
from isthmus.data import Images
from isthmus.web.bodies import ARROW, JSON, NPY, PARQUET
from isthmus.web.refusals import Refused

COLUMNS = "application/octet-stream"
"""Bare little-endian float32, column after column; the header ``x-shape`` says "rows,columns"."""
OFFERED = (JSON, NPY, ARROW, PARQUET, COLUMNS)


@dataclass(frozen=True)
class Answer:
    """An answer: what JSON shows by name, and which of it is the rows that a binary answer holds."""

    members: dict[str, Any]
    main: str | None
    """The member that .npy, Arrow, Parquet and columns hold; None where they hold all members as columns."""
    names: list[str] = field(default_factory=list)
    """What the columns of a two-dimensional array are called in a table."""
    table: pa.Table | None = None
    """What Arrow and Parquet hold, where that is neither."""

    @property
    def size(self) -> int:
        """About how many numbers there are to write."""
        rows: Any = [] if self.main is None else self.members[self.main]
        return rows.num_rows * rows.num_columns if isinstance(rows, pa.Table) else int(np.size(rows))

    def written(self, form: str) -> tuple[bytes, dict[str, str]]:
        """Return the body in a form, and the headers that belong to it."""
        if form == JSON:
            return _json(self.members), {}
        if form == NPY:
            return _npy(self._array(NPY)), {}
        if form == COLUMNS:
            array = self._array(COLUMNS)
            array = array.reshape(len(array), -1)
            return np.asfortranarray(array, "<f4").tobytes("F"), {"x-shape": f"{array.shape[0]},{array.shape[1]}"}
        return _table(self._table(), form), {}

    def _array(self, form: str) -> np.ndarray:
        rows = None if self.main is None else self.members[self.main]
        if isinstance(rows, np.ndarray):
            return rows
        raise Refused(406, f"this answer is a table, which {form} cannot hold; accept {ARROW}, {PARQUET} or {JSON}.")

    def _table(self) -> pa.Table:
        if self.table is not None:
            return self.table
        if self.main is None:
            return pa.table({name: pa.array(values) for name, values in self.members.items() if np.ndim(values) == 1})
        rows = self.members[self.main]
        if isinstance(rows, pa.Table):
            return rows
        if rows.ndim > 2:
            raise Refused(406, f"this answer is an array of {rows.ndim} axes, which no table holds; accept {NPY}.")
        columns = [rows] if rows.ndim == 1 else list(rows.T)
        names = self.names if len(self.names) == len(columns) else [f"x{i}" for i in range(len(columns))]
        return pa.table(dict(zip(names if rows.ndim == 2 else [self.main], map(pa.array, columns), strict=True)))


def chosen(accept: str) -> str:
    """Return the form an Accept header asks for: the most wanted that is offered, JSON where anything is welcome."""
    if not accept.strip() or accept == "*/*":
        return JSON
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept.split(",")):
        kind, _, rest = part.strip().partition(";")
        quality = 1.0
        for parameter in rest.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if quality > 0:
            wanted.append((-quality, place, kind.strip().lower()))
    for _, _, kind in sorted(wanted):
        if kind in OFFERED:
            return kind
        if kind in ("*/*", "application/*"):
            return JSON
    raise Refused(406, f"the answer can be had as {', '.join(OFFERED)}, none of which the request accepts.")


def as_container(X: Any) -> np.ndarray | pa.Table:
    """Return what the library gave as numpy array or Arrow table, whatever family it was learned from."""
    if isinstance(X, Images):
        return X.pixels
    if isinstance(X, (np.ndarray, pa.Table)):
        return X
    if hasattr(X, "detach"):
        return X.numpy()
    import narwhals as nw

    return nw.from_native(X, eager_only=True).to_arrow()


def as_json(members: dict[str, Any]) -> dict[str, Any]:
    """Return arrays and tables as JSON has them: lists of numbers, lists of objects, null for what is no number."""
    return {name: _listed(value) for name, value in members.items()}


def _json(members: dict[str, Any]) -> bytes:
    return json.dumps(as_json(members)).encode()


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and not np.isfinite(value).all():  # JSON has neither NaN nor infinity
            return np.where(np.isfinite(value), value.astype(object), None).tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]
        return value.tolist()
    if isinstance(value, pa.Table):
        columns = {name: _cells(column) for name, column in zip(value.column_names, value.columns, strict=True)}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return plain(value)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Return the cells of a column as JSON has them: dates and times as ISO 8601, decimals as text, no NaN."""
    kind = column.type
    if pt.is_duration(kind):
        return column.cast(pa.int64()).to_pylist()
    if pt.is_temporal(kind):  # by Arrow: Python knows neither nanoseconds nor years beyond 9999
        return [None if text is None else text.replace(" ", "T") for text in column.cast(pa.string()).to_pylist()]
    cells = column.to_pylist()
    if pt.is_floating(kind):
        return [None if cell is not None and not np.isfinite(cell) else cell for cell in cells]
    return [str(cell) if isinstance(cell, Decimal) else cell for cell in cells]


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _table(table: pa.Table, form: str) -> bytes:
    sink = pa.BufferOutputStream()
    if form == PARQUET:
        import pyarrow.parquet as pq

        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()
