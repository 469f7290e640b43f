"""Putting what was filled into the gaps of a table, and touching nothing else."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from isthmus.data import frames
from isthmus.data.containers import is_table


def merge(X: Any, filled: Any) -> Any:
    """Return ``X`` with the cells of ``filled`` in its gaps; every observed cell, dtype, label and the index stay."""
    if not is_table(X):
        return np.where(np.isnan(X), filled.astype(X.dtype), X)
    family = frames.family_of(X)
    given = {column.dress.name: column.values for column in frames.columns_of(filled)}
    columns = []
    for dress, values in frames.columns_of(X):
        if values.null_count:
            values = pc.if_else(values.is_valid(), values, _cast(given[dress.name], values.type))
        columns.append((dress, values))
    return frames.assemble(columns, family, family, X.index if family == "pandas" else None)


def gaps_of(X: Any) -> dict[str, int]:
    """Return how many gaps each column has, by name; those of an array are called by their place."""
    if not is_table(X):
        return {str(place): int(count) for place, count in enumerate(np.isnan(X).sum(0))}
    return {column.dress.name: column.values.null_count for column in frames.columns_of(X)}


def as_table(X: Any) -> Any:
    """Return an array as an Arrow table whose columns are called by their place; tables as they are."""
    if is_table(X):
        return X
    return pa.table({str(place): pa.array(X[:, place], from_pandas=True) for place in range(X.shape[1])})


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast what was decoded by the learned type to that of the table at hand."""
    if values.type == kind:
        return values
    if pt.is_integer(kind) and pt.is_floating(values.type):
        values = pc.round(values)
    return values.cast(kind, safe=False)
