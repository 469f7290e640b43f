"""Values <-> whole numbers: what every engine sees, and what no engine can break.

x -- to_integers --> X int64, signs, outside        X -- to_values --> x'
                     an engine may change X by at most (stride - 1) / 2, and x' still lies within the bound

Lossless grids have stride 1. Under a bound eps, values lie on a grid far finer than the bound asks for: with an odd stride M
and delta = 2 eps / M, rounding to the grid costs delta / 2 and the engine (M - 1) delta / 2, together eps; so predictions
stay finer than the steps in which they are corrected. Whatever a grid cannot hold is said in ``outside`` and kept as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from isthmus.apps.compression.bounds import Bound, bits_of
from isthmus.errors import DataError

STRIDE = 31
_LIMIT = 2.0**46
"""Grid points beyond this are not used: X + M k must stay exact in float64 arithmetic."""
_ASKED = 100_000
_RARE = 0.01
"""Up to this share of values may not be quotients, and are kept as they are."""
_DENOMINATORS = sorted({*(10**p for p in range(10)), 255, 65535, *(1 << p for p in range(1, 31))})

Kind = Literal["integers", "patterns", "quotients", "linear", "log"]


class Integers(NamedTuple):
    """Values as an engine sees them."""

    X: np.ndarray
    """int64, of the shape of the values."""
    outside: np.ndarray | None
    """Where a value is not on the grid (NaN, infinite, too large); None where all are. X holds there what came before."""
    negative: np.ndarray | None
    """Signs, where the grid is one of logarithms and some value is negative."""


@dataclass(frozen=True)
class Grid:
    """How values of one dtype are whole numbers.

    integers: X = x. patterns: X rises with x by one from each float to the next. quotients: x = X / denominator, to the bit.
    linear: x = X delta. log: log2 |x| = X delta.
    """

    dtype: str
    """As numpy writes it: "<f4", "|u1" .."""
    kind: Kind
    stride: int = 1
    delta: float = 1.0
    denominator: int = 1

    @classmethod
    def fit(cls, values: np.ndarray, bound: Bound, stride: int = STRIDE) -> Self:
        """Return the grid for data like ``values`` under ``bound`` (not "rel": resolve it first)."""
        dtype = values.dtype.str
        if values.dtype.kind in "iu":
            reach = (
                min(int(bound.value), 2**40) if bound.kind == "abs" else 0
            )  # of pointwise_rel nothing is left: exact
            return cls(dtype, "integers", 0 if bound.kind == "latent" else 2 * reach + 1)
        if values.dtype.kind in "bmM":
            return cls(dtype, "integers")
        if values.dtype.kind != "f" or values.dtype.itemsize > 8:
            raise DataError(f"values of the type {values.dtype} cannot be compressed; convert them to numbers first.")
        sample = _sample(values)
        if bound.kind == "latent":
            size = float(np.abs(sample).max(initial=0.0)) or 1.0
            return cls(dtype, "linear", 0, size * 2.0**-16)
        if bound.kind == "pointwise_rel":
            shrunk = bound.value - float(np.finfo(values.dtype).eps) / 2
            if shrunk > bound.value / 4:
                return cls(dtype, "log", stride, _octaves(shrunk, stride))
        if bound.kind == "abs":
            # the result is rounded to its dtype once more: half a unit in the last place of nearly all values
            shrunk = bound.value - _rounding(sample)
            delta = 2 * shrunk * (1 - 2.0**-40) / stride
            if shrunk > bound.value / 4 and np.finfo(np.float64).tiny * 2**20 < delta < 2.0**1000:
                return cls(dtype, "linear", stride, delta)
        denominator = _denominator(sample)
        return cls(dtype, "patterns") if denominator is None else cls(dtype, "quotients", denominator=denominator)

    def to_integers(self, values: np.ndarray) -> Integers:
        """Return the values as whole numbers; what they cannot be is said, and held over from the value before."""
        if self.kind == "integers":
            return self._whole(values)
        if self.kind == "patterns":
            signed = values.view(values.dtype.str.replace("f", "i"))
            top = np.iinfo(signed.dtype).max
            return Integers((signed ^ ((signed >> (8 * signed.dtype.itemsize - 1)) & top)).astype(np.int64), None, None)
        negative = None
        with np.errstate(all="ignore"):
            x = values.astype(np.float64)
            if self.kind == "log":
                negative = np.signbit(x)
                place = np.log2(np.abs(x)) / self.delta
                outside = ~(np.abs(place) < _LIMIT)
            elif self.kind == "linear":
                place = x / self.delta
                outside = ~(np.abs(place) < _LIMIT)
            else:
                place = np.rint(x * self.denominator) + 0.0  # a whole number has no -0
                outside = ~(np.abs(place) < _LIMIT)
                place = np.where(outside, 0.0, place)
                outside |= bits_of((place / self.denominator).astype(values.dtype)) != bits_of(values)
        X = np.rint(np.where(outside, 0.0, place)).astype(np.int64)
        negative = None if negative is None or not (negative & ~outside).any() else negative & ~outside
        if not outside.any():
            return Integers(X, None, negative)
        return Integers(_held_over(X, outside), outside, negative)

    def to_values(self, X: np.ndarray, negative: np.ndarray | None = None) -> np.ndarray:
        """Return the values of whole numbers: the same bits on every machine (no function of a maths library is asked)."""
        dtype = np.dtype(self.dtype)
        if self.kind == "integers":
            return self._from_whole(X, dtype)
        if self.kind == "patterns":
            signed = X.astype(dtype.str.replace("f", "i"))
            top = np.iinfo(signed.dtype).max
            return (signed ^ ((signed >> (8 * signed.dtype.itemsize - 1)) & top)).view(dtype)
        with np.errstate(all="ignore"):
            if self.kind == "quotients":
                return (X / float(self.denominator)).astype(dtype)
            x = X * self.delta if self.kind == "linear" else exp2(X * self.delta)
            if negative is not None:
                x = np.where(negative, -x, x)
            return x.astype(dtype)

    def _whole(self, values: np.ndarray) -> Integers:
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype.kind in "mM" or values.dtype.str[1:] == "u8":
            X = native.view(np.int64)  # from 2^63 on negative: out of order, but exact
        else:
            X = native.astype(np.int64)
        if self.stride == 1:
            return Integers(X, None, None)
        lowest = 0 if values.dtype.kind == "u" else -(2**62)
        far = (lowest > X) | (X > 2**62)
        return Integers(_held_over(X, far), far, None) if far.any() else Integers(X, None, None)

    def _from_whole(self, X: np.ndarray, dtype: np.dtype) -> np.ndarray:
        if dtype.kind in "iu" and self.stride != 1:  # what lies beyond the dtype is brought back, which is no farther
            X = np.clip(X, max(np.iinfo(dtype).min, -(2**63)), min(np.iinfo(dtype).max, 2**63 - 1))
        if dtype.kind in "mM" or dtype.str[1:] == "u8":
            return X.astype(np.int64).view(dtype.newbyteorder("=")).astype(dtype, copy=False)
        return X.astype(dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the grid as plain data; what is as usual is left out."""
        usual = vars(Grid(self.dtype, self.kind))
        return {name: value for name, value in vars(self).items() if name in ("dtype", "kind") or value != usual[name]}

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Rebuild a grid from what ``to_json`` gave; anything else is a DataError."""
        try:
            grid = cls(**state)
            dtype = np.dtype(grid.dtype)
            known = grid.kind in ("integers", "patterns", "quotients", "linear", "log")
            whole = all(type(number) is int for number in (grid.stride, grid.denominator))
            fine = known and whole and 0 <= grid.stride < 2**42 and 0 < grid.denominator < 2**60 and dtype.itemsize <= 8
            if fine and dtype.kind in "biufmM" and 0 < float(grid.delta) < np.inf:
                return grid
        except (TypeError, ValueError):
            pass
        raise DataError(f"the file describes its numbers as {state!r}, which makes no sense; it is damaged.")


def exp2(y: np.ndarray) -> np.ndarray:
    """Return 2^y by sums and products alone, which IEEE 754 rounds alike everywhere; within 2 units in the last place."""
    whole = np.floor(y + 0.5)
    t = (y - whole) * 0.6931471805599453  # |t| <= 0.35: the series of exp ends at 2^-53 after 14 terms
    sum_ = np.ones_like(t)
    for divisor in range(14, 0, -1):
        sum_ = sum_ * t / divisor + 1.0
    return np.ldexp(sum_, np.clip(whole, -2000, 2000).astype(np.int32))


def _rounding(sample: np.ndarray) -> float:
    """Return half a unit in the last place of nearly all of ``sample``; of float64 the products round, too."""
    if not sample.size:
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.spacing(np.quantile(np.abs(sample), 0.999).astype(sample.dtype))) / 2


def _octaves(relative: float, stride: int) -> float:
    """Return the step in log2 for which (stride / 2) steps stay within a factor of 1 + ``relative``."""
    return 2 * float(np.log1p(relative) / np.log(2)) * (1 - 2.0**-20) / stride


def _denominator(sample: np.ndarray) -> int | None:
    """Return the smallest d for which nearly all values are X / d to the bit; None where that says no more than the bits."""
    if not sample.size:
        return 1
    few = sample[:: max(1, len(sample) // 300)]
    for d in _DENOMINATORS:
        if _quotients(few, d) >= 1 - 3 * _RARE and _quotients(sample, d) >= 1 - _RARE:
            patterns = Grid(sample.dtype.str, "patterns").to_integers(sample).X
            levels = np.rint(sample.astype(np.float64) * d)
            span = float(patterns.max()) - float(patterns.min())  # as floats: the difference of int64 may not be one
            if np.ptp(levels) < 0.25 * span or not span:
                return d
    return None


def _quotients(values: np.ndarray, d: int) -> float:
    outside = Grid(values.dtype.str, "quotients", denominator=d).to_integers(values).outside
    return 1.0 if outside is None else 1 - float(outside.mean())


def _sample(values: np.ndarray) -> np.ndarray:
    """Return the finite ones among up to _ASKED values, evenly spread."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // _ASKED)]
    return np.ascontiguousarray(flat[np.isfinite(flat)])


def _held_over(X: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Put the last number that is on the grid, in reading order, where none is."""
    flat, gone = X.reshape(-1), outside.reshape(-1)
    place = np.where(gone, 0, np.arange(len(flat)))
    held = flat[np.maximum.accumulate(place)]
    return np.where(gone & (np.maximum.accumulate(place) == 0) & gone[0], 0, held).reshape(X.shape)
