"""Conditions: what encoder and decoder are told besides the sample - its label, or columns of the table itself."""

# Arrow and narwhals are imported where a condition is met: most fits have none.

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isthmus import data
from isthmus.data.codec import Codec
from isthmus.data.containers import is_table
from isthmus.errors import DataError, DataWarning, SettingError

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = "y"
"""The setting that takes the labels given to ``fit(X, y)``."""


class Condition:
    """Turns labels or columns into numbers (n, width); a row of 0 says nothing."""

    def __init__(self, codec: Codec, columns: tuple[str, ...] | None) -> None:
        self.codec, self.columns = codec, columns

    @classmethod
    def learn(cls, setting: Any, X: Any, y: Any) -> Condition:
        """Learn from ``fit``'s arguments: ``setting`` is "y", or the names of the columns."""
        if setting == LABELS:
            if y is None:
                raise DataError(
                    'condition="y" requires y to be passed, but the target y is None; call fit(X, y), or name columns of a '
                    "table (condition=.., --condition COLUMN)."
                )
            return cls(data.learn(_labels(y)), None)
        columns = (setting,) if isinstance(setting, str) else tuple(setting)
        if not is_table(X):
            raise SettingError(f'condition={setting!r} names columns, but the data is no table; use condition="y".')
        return cls(data.learn(_select(X, columns)), columns)

    @property
    def width(self) -> int:
        return self.codec.layout.size

    def of(self, X: Any, given: Any, n_rows: int) -> Tensor | None:
        """Return the condition of ``n_rows`` samples: what is given, else what the columns of X say, else None (untold).

        ``given`` is one value for all, one a sample, or for columns a frame or mapping of them.
        """
        if given is None:
            if self.columns is None or X is None or not is_table(X):
                return None
            frame = _select(X, self.columns)
        elif self.columns is None:
            labels = _array(given)
            frame = _labels(np.repeat(labels, n_rows) if labels.ndim == 0 else labels)
        elif is_table(given):
            frame = _select(given, self.columns)
        else:
            frame = self._from_mapping(given, n_rows)
        if len(frame) != n_rows:
            raise DataError(f"The condition has {len(frame)} rows, but there are {n_rows} samples.")
        with warnings.catch_warnings():
            if given is not None:  # what a user asks for by name must be known
                warnings.simplefilter("error", DataWarning)
            try:
                x, _ = self.codec.encode(frame).take(slice(None))
            except DataWarning as unknown:
                raise DataError(f"The condition says what no training row did: {unknown}.") from unknown
        return x

    def _from_mapping(self, given: Any, n_rows: int) -> Any:
        import pyarrow as pa

        assert self.columns is not None, "labels have no columns"
        if not isinstance(given, Mapping) or set(given) != set(self.columns):
            raise SettingError(
                f"condition={given!r} must say what {', '.join(self.columns)} are, as in "
                f"{{{self.columns[0]!r}: value}}, or be a frame with those columns."
            )
        return pa.table(
            {c: pa.array(np.repeat(given[c], n_rows) if np.ndim(given[c]) == 0 else given[c]) for c in self.columns}
        )

    def to_json(self) -> dict[str, Any]:
        return {"codec": self.codec.to_json(), "columns": None if self.columns is None else list(self.columns)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Condition:
        return cls(data.codec_from(state["codec"], {}), None if state["columns"] is None else tuple(state["columns"]))


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _labels(y: Any) -> pa.Table:
    """Return labels as a table: whole numbers are names of classes, numbers with fractions are amounts."""
    import pyarrow as pa

    values = _array(y)
    if values.dtype.kind in "iub":
        values = values.astype(str)
    if values.ndim == 1:
        values = values[:, None]
    return pa.table({f"y{i}" if values.shape[1] > 1 else "y": pa.array(list(v)) for i, v in enumerate(values.T)})


def _select(X: Any, columns: tuple[str, ...]) -> Any:
    import narwhals as nw

    frame = nw.from_native(X, eager_only=True)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(
            f"The condition column {missing[0]!r} is not in the data, which has {', '.join(frame.columns)}."
        )
    return frame.select(list(columns)).to_native()
