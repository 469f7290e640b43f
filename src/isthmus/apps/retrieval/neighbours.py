"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.apps.section import Section, Table
from isthmus.apps.words import plain

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SHOWN = 5
"""How many queries a section of the report shows."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of each query, the nearest first."""

    positions: np.ndarray
    """(q, k) where each neighbour stands in the index, counted from 0; -1 where fewer than k rows pass a filter."""
    distances: np.ndarray
    """(q, k) float64; infinite where there is no neighbour."""
    metric: str
    """"sqeuclidean", "cosine" or "hamming"."""
    metadata: pa.Table | None = None
    """What is known of each neighbour: q * k rows, query by query; None where the index holds nothing."""

    def to_table(self) -> pa.Table:
        """Return one row a neighbour: query, rank, position, distance and what is known of it."""
        import pyarrow as pa

        q, k = self.positions.shape
        columns = {
            "query": np.repeat(np.arange(q), k),
            "rank": np.tile(np.arange(1, k + 1), q),
            "position": self.positions.ravel(),
            "distance": self.distances.ravel(),
        }
        known = {} if self.metadata is None else dict(zip(self.metadata.column_names, self.metadata, strict=True))
        clash = {f"{name}_" if name in columns else name: column for name, column in known.items()}
        table = pa.table({name: pa.array(column) for name, column in columns.items()} | clash)
        return table.filter(pa.array(self.positions.ravel() >= 0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: for each query the list of its neighbours."""
        found: list[list[dict[str, Any]]] = [[] for _ in self.positions]
        for row in self.to_table().to_pylist():
            found[row.pop("query")].append(row)
        return plain({"metric": self.metric, "neighbours": found})

    def section(self) -> Section:
        """Return a section of the report: the neighbours of the first queries."""
        q, k = self.positions.shape
        shown = [row for row in self.to_table().to_pylist() if row["query"] < MOST_SHOWN]
        header = tuple(shown[0]) if shown else ("query", "rank", "position", "distance")
        table = Table(
            f"Neighbours of the first {min(q, MOST_SHOWN)} queries", header, [tuple(r.values()) for r in shown]
        )
        sentence = f"The {k} nearest rows of {q} quer{'y' if q == 1 else 'ies'} by code ({self.metric} distance)."
        return Section("Nearest rows", (sentence,), (table,), facts={"metric": self.metric, "queries": q, "k": k})
