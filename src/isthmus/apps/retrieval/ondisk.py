"""Rows on disk, in a table of LanceDB: codes and what is known of the rows, searched exactly and filtered by SQL."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.apps.retrieval.exact import Found, ranked
from isthmus.apps.retrieval.metric import Metric
from isthmus.apps.retrieval.stores import Full
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER, TABLE, PLACE, CODE = "lance", "rows", "_position", "_code"


class OnDisk:
    """The nearest rows of a table of LanceDB; memory holds the answers alone."""

    name = "lance"
    recall = 1.0

    def __init__(self, folder: Path, metric: Metric) -> None:
        self.folder, self.metric = folder, metric
        self.table = _connected(folder).open_table(TABLE)
        self.d = self.table.schema.field(CODE).type.list_size

    @classmethod
    def build(cls, folder: Path, codes: np.ndarray, metadata: pa.Table | None, metric: Metric) -> OnDisk:
        """Write the table of codes (n, d) and what is known of the rows."""
        _connected(folder).create_table(TABLE, _rows(codes, metadata, 0), mode="overwrite")
        return cls(folder, metric)

    def __len__(self) -> int:
        return self.table.count_rows()

    def extend(self, codes: np.ndarray, metadata: pa.Table | None) -> None:
        """Append rows."""
        self.table.add(_rows(codes, metadata, len(self)))

    def search(self, queries: np.ndarray, k: int, where: str | None = None) -> Found:
        """Return the k nearest rows of queries (q, d), of all or of those that pass the SQL condition ``where``."""
        found = [self._nearest(query, k, where) for query in queries]
        return Found(np.concatenate([f.positions for f in found]), np.concatenate([f.distances for f in found]))

    def known(self, positions: np.ndarray) -> pa.Table | None:
        """Return what is known of the rows at positions (m,); null where there is none."""
        import pyarrow as pa

        if set(self.table.schema.names) == {PLACE, CODE}:
            return None
        listed = ", ".join(map(str, np.unique(positions[positions >= 0]))) or "-1"
        names = [name for name in self.table.schema.names if name != CODE]
        rows = self.table.search().where(f"{PLACE} in ({listed})").limit(len(positions) + 1).select(names).to_arrow()
        order = {place: row for row, place in enumerate(rows[PLACE].to_pylist())}
        return rows.drop([PLACE]).take(pa.array([order.get(int(place)) for place in positions], pa.int64()))

    def codes_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the codes of rows, (m, d)."""
        listed = ", ".join(map(str, positions))
        rows = self.table.search().where(f"{PLACE} in ({listed})").limit(len(positions)).to_arrow()
        codes = dict(zip(rows[PLACE].to_pylist(), rows[CODE].to_pylist(), strict=True))
        return np.array([codes[int(place)] for place in positions], np.float32)

    def copy_to(self, folder: Path) -> None:
        """Write the table once more, elsewhere."""
        if folder.resolve() != self.folder.resolve():
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def _nearest(self, query: np.ndarray, k: int, where: str | None) -> Found:
        asked = self.table.search(query, vector_column_name=CODE).distance_type("l2").limit(k)
        try:
            rows = (asked if where is None else asked.where(where, prefilter=True)).to_arrow()
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise SettingError(f"where={where!r} is no condition on these rows: {reason}") from error
        codes = np.array(rows[CODE].to_pylist(), np.float32).reshape(-1, self.d)
        positions = np.asarray(rows[PLACE].to_numpy(), np.int64)
        order = np.argsort(positions)
        inside = ranked(Full(codes[order]), self.metric, query[None], np.arange(len(codes))[None], k)
        return Found(np.where(inside.positions < 0, -1, _take(positions[order], inside.positions)), inside.distances)


def _take(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return values[index] if len(values) else np.full(index.shape, -1)


def _rows(codes: np.ndarray, metadata: pa.Table | None, start: int) -> pa.Table:
    import pyarrow as pa

    places = pa.array(np.arange(start, start + len(codes)), pa.int64())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1])
    known = {} if metadata is None else dict(zip(metadata.column_names, metadata.columns, strict=True))
    for name in (PLACE, CODE):
        if name in known:
            raise DataError(f"a column of the metadata is called {name!r}, which the index needs; rename it.")
    return pa.table({PLACE: places, CODE: vectors} | known)


def imported() -> Any:
    """Import LanceDB, or say how to get it."""
    try:
        import lancedb  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise SettingError(
            "backend='lance' needs LanceDB, which is not installed: pip install 'isthmus[retrieval]'."
        ) from error
    return lancedb


def _connected(folder: Path) -> Any:
    return imported().connect(os.fspath(folder))
