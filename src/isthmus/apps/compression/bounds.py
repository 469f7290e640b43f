"""How far a decoded value may lie from the original, and whether it does: decided exactly, not nearly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from isthmus.errors import SettingError

Kind = Literal["lossless", "abs", "rel", "pointwise_rel", "latent"]


@dataclass(frozen=True)
class Bound:
    """What is promised of every value.

    lossless: the same bits. abs: |x - x'| <= value. rel: the same, with value times the range of what was learned from.
    pointwise_rel: |x - x'| <= value |x| of floats; whole numbers stay exact. latent: nothing, codes alone.
    """

    kind: Kind = "lossless"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in ("lossless", "latent"):
            return
        if not isinstance(self.value, (int, float)) or not 0 < self.value < np.inf:
            raise SettingError(f"{self.kind}={self.value!r} must be a number above 0; leave it out for lossless.")
        if self.kind != "abs" and self.value >= 1:
            raise SettingError(f"{self.kind}={self.value!r} would allow anything; it must lie below 1, try 0.001.")

    @property
    def is_exact(self) -> bool:
        return self.kind == "lossless"

    def resolve(self, values: np.ndarray) -> Bound:
        """Return the bound with "rel" made "abs" by the range of the finite ``values``."""
        if self.kind != "rel":
            return self
        if not values.size or values.dtype.kind not in "iuf":
            return Bound()
        low, high = np.inf, -np.inf
        for block in np.array_split(values, max(1, values.size >> 22)):  # it may be a file behind a memory map
            finite = block[np.isfinite(block)] if values.dtype.kind == "f" else block
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if low > high:
            return Bound()
        width = self.value * (high - low) if np.isfinite(high - low) else self.value * (high / 2 - low / 2)
        return Bound("abs", width) if width > 0 else Bound()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def violations(self, x: np.ndarray, again: np.ndarray) -> np.ndarray:
        """Return where ``again`` breaks the promise. Both of one dtype; nothing here is rounded in favour of the bound."""
        different = bits_of(x) != bits_of(again)
        if self.kind == "lossless" or x.dtype.kind not in "iuf":
            return different
        if x.dtype.kind in "iu":
            return different & ~self._integers_near(x, again)
        return different & ~self._floats_near(x, again)

    def _integers_near(self, x: np.ndarray, again: np.ndarray) -> np.ndarray:
        distance = np.maximum(x, again).astype(np.uint64) - np.minimum(x, again).astype(np.uint64)  # exact modulo 2^64
        if self.kind == "latent":
            return np.ones(x.shape, bool)
        if self.kind == "abs":
            return distance <= np.uint64(min(int(self.value), 2**64 - 1))
        return np.zeros(x.shape, bool)

    def _floats_near(self, x: np.ndarray, again: np.ndarray) -> np.ndarray:
        if self.kind == "latent":
            return np.isfinite(x) & np.isfinite(again)
        with np.errstate(all="ignore"):
            a, b = x.astype(np.float64), again.astype(np.float64)
            gap = a - b
            if self.kind == "pointwise_rel":
                return np.isfinite(gap) & (np.abs(gap) * (1 + 2.0**-50) <= self.value * np.abs(a))
            # what the subtraction rounded away (Knuth's two-sum): a - b = gap + lost, exactly
            back = a - gap
            lost = (a - (gap + back)) + (back - b)
            size, beyond = np.abs(gap), np.sign(gap) * lost
            return np.isfinite(gap) & ((size < self.value) | ((size == self.value) & (beyond <= 0)))


def bits_of(x: np.ndarray) -> np.ndarray:
    """Return the bits of an array as unsigned whole numbers of its width."""
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")
