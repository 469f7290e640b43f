"""One invertible shift and division for arrays of numbers: x = (X - offset) / factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, SettingError

Scale = Literal["common", "columns", "range", "none"]
SCALES = ("auto", "common", "columns", "range", "none")
_NUMBERS_AT_ONCE = 1 << 18  # 1 MiB of float32: what is passed over several times stays in the cache
_FAR = 1e18


class Scaling(NamedTuple):
    """x = (X - offset) / factor; both broadcast against one sample, an offset of NaN marks a number never seen."""

    offset: np.ndarray
    factor: np.ndarray

    def decode(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return X = x * factor + offset in ``dtype``; integers are rounded and kept inside their range."""
        out = np.empty(x.shape, dtype)
        if dtype == np.float32:  # no float64 could say more in the end
            factor, offset = self.factor.astype(np.float32), self.offset.astype(np.float32)
            for rows in row_blocks(x):
                np.multiply(x[rows], factor, out=out[rows])
                out[rows] += offset
            return out
        for rows in row_blocks(x):
            out[rows] = as_dtype(x[rows] * self.factor + self.offset, dtype)
        return out


class Scaler:
    """Computes x = (X - offset) / factor for blocks of one array, in as few passes as its numbers allow.

    The difference is that of float64 unless float32 holds the numbers of the array; from there on float32 is enough, for
    factors that are not near its limits.
    """

    def __init__(self, scaling: Scaling, dtype: np.dtype, check: Callable[[], None] | None = None) -> None:
        """``check`` refuses an array that holds infinities; it is called once, when there may be one."""
        is_usual = bool(((scaling.factor > 1e-15) & (scaling.factor < 1e15)).all())
        self.check, self.kind = check, torch.float32 if is_usual else torch.float64
        self.type = np.dtype(np.float32 if is_usual and np.can_cast(dtype, np.float32) else np.float64)
        offset = scaling.offset.astype(self.type)
        rest = scaling.offset - offset  # what rounding took from the offset
        is_felt = bool((np.abs(rest) > 2.0**-24 * scaling.factor).any())
        self.offset, self.factor = torch.from_numpy(offset), torch.from_numpy(scaling.factor).to(self.kind)
        self.rest = torch.from_numpy(rest).to(self.kind) if is_felt else None

    def __call__(self, X: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Return rows of X (n, *shape) in float32, 0 at gaps, and the mask of what is observed, None without gaps."""
        x = torch.empty(X.shape, dtype=self.kind)
        torch.sub(self._tensor(X), self.offset, out=x)
        if self.rest is not None:
            x.sub_(self.rest)
        x = x.div_(self.factor).float()
        flat = x.view(-1)
        if float(flat @ flat) <= _FAR**2:  # neither gaps nor infinities, nor anything absurdly far
            return x, None
        if self.check is not None:
            self.check()
            self.check = None
        observed = ~x.isnan()
        x.nan_to_num_(0.0).clamp_(-_FAR, _FAR)
        return x, None if observed.all() else observed

    def _tensor(self, X: np.ndarray) -> Tensor:
        # torch knows neither every type of number nor read-only memory
        is_plain = X.dtype == self.type and X.flags.c_contiguous and X.flags.writeable
        return torch.from_numpy(X if is_plain else X.astype(self.type, order="C"))


def resolve(scale: str, default: Scale) -> Scale:
    """Return the scale to use, where "auto" means ``default``."""
    if scale not in SCALES:
        raise SettingError(f"scale={scale!r} is not one of {', '.join(SCALES)}; leave it at 'auto' if unsure.")
    return default if scale == "auto" else scale  # pyright: ignore[reportReturnType]


def learn_scaling(X: np.ndarray, scale: Scale) -> Scaling:
    """Learn offset and factor from the observed numbers of X (n, *shape).

    common: offset = column means, factor = sqrt(mean column variance), one number for all: the geometry of PCA stays.
    columns: offset = column means, factor = column standard deviations. range: offset = min(X), factor = max - min.
    """
    count, total, low, high = _sums(X)
    seen = count > 0
    if not seen.any():
        raise DataError("every number of the data is a gap (NaN); nothing can be learned from it.")
    never = np.where(seen, 0.0, np.nan)
    if scale == "none":
        return Scaling(never, np.array(1.0))
    if scale == "range":
        return Scaling(never + np.nanmin(low), guard(np.nanmax(high) - np.nanmin(low), np.nanmax(np.abs(high))))
    # A constant column is its own mean exactly, which sum / count can miss by a rounding.
    mean = np.where(low == high, low, total / np.where(seen, count, np.nan))  # (*shape)
    squares = np.zeros(X.shape[1:])
    for rows in row_blocks(X):
        squares += np.nansum(np.square(np.asarray(X[rows], np.float64) - mean), axis=0)
    variance = np.where(seen, squares / np.maximum(count, 1), np.nan)
    size = np.fmax(np.abs(low), np.abs(high))
    if not np.isfinite(variance[seen]).all():
        raise DataError(
            f"numbers as large as {np.nanmax(size):.2g} cannot be squared in float64; divide the data by a power of ten first."
        )
    if scale == "common":
        return Scaling(mean, guard(np.sqrt(np.nanmean(variance)), np.nanmax(size)))
    return Scaling(mean, guard(np.sqrt(variance), size))


def scaled(X: np.ndarray, scaling: Scaling) -> tuple[np.ndarray, np.ndarray | None]:
    """Return x = (X - offset) / factor (n, *shape) in float32 with 0 at gaps, and the mask of what is observed."""
    x = np.empty(X.shape, np.float32)
    observed, scaler = None, Scaler(scaling, X.dtype)
    for rows in row_blocks(X):
        values, seen = scaler(X[rows])
        x[rows] = values
        if seen is not None:
            observed = np.ones(X.shape, bool) if observed is None else observed
            observed[rows] = seen
    return x, observed


def bounded(x: np.ndarray) -> np.ndarray:
    """Keep absurdly far values at +-1e18 scaled units, so that float32 and its squares stay finite."""
    return np.clip(x, -_FAR, _FAR)


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return expected values (float64) as ``dtype``: booleans by > 1/2, integers rounded and kept in range."""
    if dtype.kind == "b":
        return values > 0.5
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # float64 cannot hold 2^63 - 1: the largest float below it keeps the conversion defined.
        top = float(limits.max) if limits.bits < 64 else np.nextafter(float(limits.max), 0.0)
        return np.clip(np.rint(values), float(limits.min), top).astype(dtype)
    return values.astype(dtype)


def first_infinite(X: np.ndarray) -> tuple[int, ...] | None:
    """Return the position of the first infinite number of X, or None."""
    if X.dtype.kind != "f":
        return None
    for rows in row_blocks(X):
        block = X[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):
                continue
        infinite = np.isinf(block)
        if infinite.any():
            place = np.unravel_index(int(infinite.argmax()), infinite.shape)
            return (rows.start + int(place[0]), *map(int, place[1:]))
    return None


def row_blocks(X: np.ndarray) -> Iterator[slice]:
    """Cut the rows of X into slices of a few million numbers."""
    step = max(1, _NUMBERS_AT_ONCE // max(1, int(np.prod(X.shape[1:]))))
    for start in range(0, len(X), step):
        yield slice(start, min(start + step, len(X)))


def guard(factor: np.ndarray | np.floating | float, size: np.ndarray | np.floating | float) -> np.ndarray:
    """Replace a factor that is nothing but rounding of numbers of this size (a constant column) by 1."""
    factor = np.asarray(factor, np.float64)
    return np.where(factor > 1e-14 * np.asarray(size, np.float64), factor, 1.0)


def _sums(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return count, sum, minimum and maximum of the observed numbers along the rows."""
    shape = X.shape[1:]
    count, total = np.zeros(shape), np.zeros(shape)
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    for rows in row_blocks(X):
        block = np.asarray(X[rows], np.float64)
        count += (~np.isnan(block)).sum(axis=0)
        total += np.nansum(block, axis=0)
        low, high = np.fmin(low, np.fmin.reduce(block, axis=0)), np.fmax(high, np.fmax.reduce(block, axis=0))
    return count, total, low, high
