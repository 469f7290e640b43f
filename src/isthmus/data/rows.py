"""Encoded samples that stay in memory once, and are handed out batch by batch.

codec.encode(X) -> Rows -> take(index) -> x (B, *shape) float32 with 0 at gaps, observed (B, *shape) bool or None
                     \\--> subset(index) -> Rows: a view that shares the data
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .scaling import Scaler, Scaling

Index: TypeAlias = Tensor | slice
Taken: TypeAlias = tuple[Tensor, Tensor | None]


class Rows(Protocol):
    """Encoded samples; ``observed`` is None when nothing is missing anywhere in them."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def take(self, index: Index) -> Taken: ...
    def subset(self, index: Index | np.ndarray) -> Rows: ...


class DenseRows:
    """Samples held as one float32 tensor (n, *shape), and a mask of the same shape where cells are missing."""

    def __init__(self, x: np.ndarray | Tensor, observed: np.ndarray | Tensor | None = None) -> None:
        if isinstance(x, np.ndarray) and not x.flags.writeable:
            x = x.copy()  # torch has no read-only tensors, and warns
        self.x = torch.as_tensor(x, dtype=torch.float32)
        self.observed = None if observed is None else torch.as_tensor(observed, dtype=torch.bool)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Index) -> Taken:
        return _taken(self.x, index), None if self.observed is None else _taken(self.observed, index)

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Subset(self, _positions(index, len(self)))


class ScaledRows:
    """Samples that stay as the user gave them, (n, *shape); only the taken rows are scaled. For a single pass."""

    def __init__(self, X: np.ndarray, scaling: Scaling, check: Callable[[np.ndarray], None]) -> None:
        """``check`` refuses infinities."""
        self.X, self._scaled = X, Scaler(scaling, X.dtype, partial(check, X))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.X.shape[1:]

    def __len__(self) -> int:
        return len(self.X)

    def take(self, index: Index) -> Taken:
        return self._scaled(self.X[index if isinstance(index, slice) else index.cpu().numpy()])

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Subset(self, _positions(index, len(self)))


class SparseRows:
    """Samples that stay a scipy CSR matrix; only the taken rows become dense: x = (row - offset) / factor."""

    def __init__(self, matrix, offset: np.ndarray, factor: np.ndarray) -> None:
        self.matrix = matrix
        # A dense float32 row costs the same whatever precision the shift had, so both are kept at float32.
        self.offset = torch.as_tensor(np.asarray(offset, dtype=np.float32))
        self.factor = torch.as_tensor(np.asarray(factor, dtype=np.float32))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.matrix.shape[1],)

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def take(self, index: Index) -> Taken:
        chosen = index if isinstance(index, slice) else index.cpu().numpy()
        dense = self.matrix[chosen].toarray().astype(np.float32, copy=False)
        return torch.from_numpy(dense).sub_(self.offset).div_(self.factor), None

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Subset(self, _positions(index, len(self)))


class WindowRows:
    """Windows (length, channels) that start every ``step`` points of one resident series (T, channels): no copy."""

    def __init__(self, series: Tensor, observed: Tensor | None, length: int, step: int) -> None:
        self.series, self.length = series, length
        self.overlap = -(-length // step) - 1
        """How many of the windows that follow one share points with it."""
        self._windows = _windows(series, length, step)  # (n, length, channels), a view
        self._observed = None if observed is None else _windows(observed, length, step)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, self.series.shape[1])

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, index: Index) -> Taken:
        return self._windows[index].contiguous(), None if self._observed is None else self._observed[index].contiguous()

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Subset(self, _positions(index, len(self)))


class Subset:
    """Some rows of others, by position: holds the positions only."""

    def __init__(self, rows: Rows, positions: Tensor) -> None:
        self.rows, self.positions = rows, positions

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: Index) -> Taken:
        return self.rows.take(_taken(self.positions, index))

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Subset(self.rows, self.positions[_positions(index, len(self))])


def _windows(series: Tensor, length: int, step: int) -> Tensor:
    return series.unfold(0, length, step).transpose(1, 2)


def _taken(values: Tensor, index: Index) -> Tensor:
    # index_select copies whole rows where general indexing goes number by number: twice as fast
    return values[index] if isinstance(index, slice) or index.dtype == torch.bool else values.index_select(0, index)


def _positions(index: Index | np.ndarray, count: int) -> Tensor:
    """Turn positions, a mask or a slice into int64 positions."""
    if isinstance(index, slice):
        return torch.arange(*index.indices(count))
    chosen = torch.as_tensor(index)
    return chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.to(torch.int64)
