"""Long series cut into windows that overlap, and the way back: averaging the windows that cover a point.

values (T, channels) --windows of `length`, every `step` points--> (n, length, channels) --average--> (T, channels)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..layout import Layout
from . import memory
from .arrays import as_numbers
from .containers import Series, is_table
from .rows import DenseRows, Rows, WindowRows
from .scaling import Scaling, first_infinite, learn_scaling, resolve, scaled

FORMAT = 1


@dataclass(frozen=True, eq=False)
class SeriesCodec:
    """Windows (length, channels) of a series, each channel shifted and divided; NaN is a gap."""

    scaling: Scaling
    length: int
    step: int
    channels: int
    dtype: np.dtype
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "series"

    @property
    def layout(self) -> Layout:
        return Layout((self.length, self.channels))

    @property
    def feature_names(self) -> list[str] | None:
        return None

    def encode(self, X: Any) -> Rows:
        """Encode a Series, an array (T, channels) to be cut as in training, or windows (n, length, channels)."""
        if not isinstance(X, Series) and np.ndim(X) == 3:
            return self._encode_windows(as_numbers(X))
        series = X if isinstance(X, Series) else Series(X, self.length, self.step)
        if series.length != self.length:
            raise DataError(
                f"the series is cut into windows of {series.length} points, the model was trained on {self.length}; "
                f"use length={self.length}."
            )
        values = _values(series)
        self._require_channels(values.shape[1])
        import torch  # rows are handed out as tensors

        x, observed = scaled(values, self.scaling)
        mask = None if observed is None else torch.from_numpy(observed)
        return WindowRows(torch.from_numpy(x), mask, self.length, series.step)

    def view(self, X: Any) -> Rows:
        return self.encode(X)

    def decode(self, x: np.ndarray) -> np.ndarray:
        """Return windows (n, length, channels) in original units; ``average`` folds them into one series."""
        windows = np.asarray(x).reshape(-1, self.length, self.channels)
        return self.scaling.decode(windows, self.dtype)

    def decode_as(self, x: np.ndarray, template: Any) -> np.ndarray:
        return self.decode(x)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": FORMAT,
            "length": self.length,
            "step": self.step,
            "channels": self.channels,
            "dtype": self.dtype.str,
            "notes": self.notes,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return self.scaling._asdict()

    def _encode_windows(self, windows: np.ndarray) -> Rows:
        if windows.shape[1:] != (self.length, self.channels):
            raise DataError(
                f"the windows have shape {windows.shape[1:]}, the model was trained on windows of {self.length} points "
                f"and {self.channels} channels; cut them alike."
            )
        _refuse_infinite(windows)
        memory.require(len(windows), self.length * self.channels, "the encoded windows")
        return DenseRows(*scaled(windows, self.scaling))

    def _require_channels(self, channels: int) -> None:
        if channels != self.channels:
            raise DataError(
                f"the series has {channels} channels, the model was trained on {self.channels}; give it the same ones."
            )


def learn_series(X: Series, scale: str = "auto") -> SeriesCodec:
    """Learn the codec of a series; "auto" standardises each channel."""
    resolved = resolve(scale, "columns")
    values = _values(X)
    dtype = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    scaling = learn_scaling(values, resolved)
    never = np.flatnonzero(np.isnan(scaling.offset)).tolist()
    notes = [f"channel {channel} holds no number at all; it comes back as gaps" for channel in never]
    notes += [
        f"column {name!r} holds times: rows keep their order, it is no channel" for name in _time_columns(X.values)
    ]
    return SeriesCodec(scaling, X.length, X.step, values.shape[1], dtype, notes)


def series_from(state: dict[str, Any], arrays: dict[str, np.ndarray]) -> SeriesCodec:
    """Rebuild a SeriesCodec from what to_json and arrays gave."""
    scaling = Scaling(arrays["offset"], arrays["factor"])
    length, step, channels = state["length"], state["step"], state["channels"]
    return SeriesCodec(scaling, length, step, channels, np.dtype(state["dtype"]), list(state["notes"]))


def average(windows: np.ndarray, total: int, step: int = 1) -> np.ndarray:
    """Fold windows (n, length, channels), one every ``step`` points, into (total, channels).

    Each point is the mean of the windows that cover it, and NaN where none does; numbers that are NaN do not count.

    >>> average(np.array([[[1.0], [2.0]], [[4.0], [3.0]]]), total=3)[:, 0]
    array([1., 3., 3.])
    """
    count, length, channels = windows.shape
    if count and (count - 1) * step + length > total:
        raise DataError(
            f"{count} windows of {length} points every {step} reach to point {(count - 1) * step + length}, "
            f"beyond total={total}; give the length of the series they were cut from."
        )
    sums, covers = np.zeros((total, channels)), np.zeros((total, channels))
    starts = np.arange(count) * step
    for place in range(length):  # all windows at once: within one place no point occurs twice
        values = windows[:, place]
        seen = ~np.isnan(values)
        sums[starts + place] += np.where(seen, values, 0.0)
        covers[starts + place] += seen
    return np.where(covers > 0, sums / np.maximum(covers, 1), np.nan)


def _values(series: Series) -> np.ndarray:
    """Return the values of a series as a checked array (T, channels)."""
    if series.length < 1 or series.step < 1:
        raise DataError(f"length={series.length} and step={series.step} must both be at least 1; give whole numbers.")
    values = as_numbers(_table_numbers(series.values))
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"a series must be an array (points, channels), got shape {values.shape}; reshape it.")
    if len(values) < series.length:
        raise DataError(
            f"the series has {len(values)} points, fewer than one window of length={series.length}; "
            f"use length={max(1, len(values) // 4)} or a longer series."
        )
    memory.require(len(values), values.shape[1], "the encoded series")
    _refuse_infinite(values)
    return values


def _table_numbers(values: Any) -> Any:
    """Return the numeric columns of a table as an array (T, columns); anything else is passed on."""
    if not is_table(values):
        return values
    from . import frames  # only where tables come in: narwhals and pyarrow
    from .columns import as_numbers as numeric
    from .columns import numbers_of

    columns = [
        numbers_of(each.dress.name, numeric(each.dress.name, each.values))
        for each in frames.columns_of(values)
        if not frames.is_time(each.values.type)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))


def _time_columns(values: Any) -> list[str]:
    if not is_table(values):
        return []
    from . import frames

    return [each.dress.name for each in frames.columns_of(values) if frames.is_time(each.values.type)]


def _refuse_infinite(values: np.ndarray) -> None:
    place = first_infinite(values)
    if place is not None:
        raise DataError(f"the series holds infinity at {place}; replace it by a number, or by NaN to call it a gap.")
