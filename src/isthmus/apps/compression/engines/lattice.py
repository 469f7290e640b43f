"""Fields and series: every point predicted by its neighbours in space, in time and in other channels, from coarse to fine.

X' = P + k stride, class of points by class (see `lattice_plan`), P and the scale of k by rules (see `lattice_rules`).

The rules are linear, fitted in closed form (see `lattice_fit`), some hundred bytes to a few thousand. What brings the bytes is
the order, in which nearly every point lies between known ones (as in SZ3 and in pyramids of video frames), taps that no formula
could choose as well as least squares, and scales that say where the residuals will be large.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.engines import laws
from isthmus.apps.compression.engines.engine import UnsuitedError, nearest
from isthmus.apps.compression.engines.lattice_plan import Layout
from isthmus.apps.compression.engines.lattice_rules import (
    Exchange,
    Key,
    Rule,
    get_rule,
    put_rule,
    run,
    templates,
)
from isthmus.errors import DataError

_REACH = 1 << 36
_STRIDE = 1 << 20
_ROWS = ("time", "space", "channel")
_MOST = 1 << 40

_LEARNED = 1 << 22
"""Values that are learned from: the first rows."""


@dataclass(frozen=True)
class Lattice:
    """A lattice with its rules, for arrays (n, *shape[1:]); ``shape`` is that of the data it learned from."""

    name: ClassVar[str] = "lattice"
    layout: Layout
    shape: tuple[int, ...]
    mean: int
    rules: dict[Key, Rule] = field(hash=False)

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self | None:
        """Learn of ``X`` (n, *shape) fine units; None for a handful of numbers, or ones that are too large."""
        from isthmus.apps.compression.engines.lattice_fit import learn

        if X.size < 256 or not 0 < stride < _STRIDE or np.abs(X).max() >= _REACH:
            return None
        X = X[: max(_LEARNED // max(X[0].size, 1), 16)]
        found = [cls(layout, X.shape, mean, rules) for layout, rules, mean in learn(X, stride, seed, effort)]
        return min(found, key=lambda one: len(one.to_bytes()) + len(one.encode(X, stride)[0]))

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload and X'."""
        if X.shape[1:] != self.shape[1:] or not 0 < stride < _STRIDE or np.abs(X).max(initial=0) >= _REACH:
            raise UnsuitedError
        encoder = Encoder()

        def write(P: np.ndarray, scale: np.ndarray, law: int, points: tuple) -> np.ndarray:
            k = nearest(frames[points].reshape(-1) - P, stride)
            laws.put(encoder, k, scale, law)
            return k

        frames = self.layout.frames(X)
        decoded = self._run(len(X), stride, write)
        return encoder.to_bytes(), decoded

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return X' (rows, *shape)."""
        decoder = Decoder(payload)
        return self._run(rows, stride, lambda P, scale, law, points: laws.get(decoder, scale, law))

    def _run(self, rows: int, stride: int, exchange: Exchange) -> np.ndarray:
        """Walk all sites; ``exchange`` is told P and the scales, and says k."""
        shape = (rows, *self.shape[1:])
        decoded, _ = run(self.layout, shape, self.mean, stride, lambda key, site: self.rules.get(key), exchange)
        return self.layout.rows_of(decoded, shape)

    def to_bytes(self) -> bytes:
        """Return the layout, the shape, and rule by rule."""
        encoder = Encoder()
        rows, *others = astuple(self.layout)
        for numbers in ([_ROWS.index(rows), *others, len(self.shape)], self.shape, [self.mean]):
            encoder.put_integers(np.array(numbers))
        for key, (taps, _) in templates(self.layout, self.shape).items():
            rule = self.rules.get(key)
            encoder.put_bits(np.array([rule is not None]), 1)
            if rule is not None:
                put_rule(encoder, rule, taps)
        return encoder.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        decoder = Decoder(data)
        rows, inner, time_top, space_top, *pools, axes = decoder.get_integers(8).tolist()
        if not (0 <= rows < 3 and 0 <= inner <= 2 and 0 < axes <= 16):
            raise DataError("the model of the lattice describes no array; the file is damaged.")
        shape = tuple(decoder.get_integers(axes).tolist())
        layout = Layout(_ROWS[rows], inner, time_top, space_top, *pools)
        space = inner + (layout.rows == "space")
        whole = all(0 < n <= _MOST for n in shape) and np.prod([float(n) for n in shape]) <= _MOST
        if not (whole and inner < axes and 0 < space <= 3 and 0 <= time_top < 40 and 0 <= space_top < 40):
            raise DataError("the model of the lattice describes an array that none can be; the file is damaged.")
        mean = int(decoder.get_integers(1)[0])
        if abs(mean) >= _REACH or layout.channels(shape) > 1 << 16 or layout.channels(shape) > 8 * len(data) + 1024:
            raise DataError("the model of the lattice is larger than its bytes can say; the file is damaged.")
        rules = {}
        for key, (taps, sizes) in templates(layout, shape).items():
            if decoder.get_bits(1, 1)[0]:
                rules[key] = get_rule(decoder, taps, sizes)
        return cls(layout, shape, mean, rules)
