"""Tables without loss: column after column, every value given earlier columns of its row and the row before, decision by decision.

rows in lanes (steps, lanes)      step t: all lanes at once; the row before is the step before, the counts are those of all steps before
value -> rank -> decisions of a tree;  or  value - linear prediction -> zero? sign, exponent, mantissa

What is learned is small: which columns a column looks at, and the weights of its linear prediction. The statistics themselves
are gathered by the decoder as it goes (`columns_mixing`), and cost no bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, bit_lengths
from isthmus.apps.compression.engines.columns_mixing import Mixer, hashed
from isthmus.apps.compression.engines.engine import UnsuitedError
from isthmus.errors import DataError

_REACH = 1 << 60
_STEPS = 128
_LANES = 24
"""Rows go through in so many steps, or in fewer if there would not be so many lanes."""
_SLOTS = 18
_BINS = 64
_MANTISSA = 3
"""Leading bits of a mantissa that are modelled; the others are written as they are."""
_DEPTH = 12
"""Likewise the leading bits of a rank."""
_SHIFT = 16
_PARENTS = 4

Exchange = Callable[["np.ndarray | None", np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Column:
    """How one column is coded.

    ``least``, ``size``: its values are least + (0 .. size - 1), or, with ``levels``, these. ``parents``: earlier columns that are
    contexts. ``weights``: of the linear prediction, a whole number over 2^16 for each earlier column of ``causes`` and last for the
    row before (not used where empty); ``intercept``, of the same unit. ``tree``: coded by rank, else as a residual.
    """

    least: int
    size: int
    levels: tuple[int, ...]
    tree: bool
    parents: tuple[int, ...] = ()
    causes: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    intercept: int = 0

    def ranks(self, x: np.ndarray) -> np.ndarray:
        """Return x (n,) as 0 .. size - 1."""
        if not self.levels:
            u = x - self.least
            if len(u) and (u.min() < 0 or u.max() >= self.size):
                raise UnsuitedError
            return u
        levels = np.array(self.levels)
        u = np.minimum(np.searchsorted(levels, x), len(levels) - 1)
        if (levels[u] != x).any():
            raise UnsuitedError
        return u

    def values(self, u: np.ndarray) -> np.ndarray:
        u = np.clip(u, 0, self.size - 1)
        return np.array(self.levels, np.int64)[u] if self.levels else u + self.least

    def binned(self, u: np.ndarray) -> np.ndarray:
        """Return ranks as what contexts are made of: themselves if they are few, else one of _BINS."""
        return u if self.size <= 4 * _BINS else u // (-(-self.size // _BINS))


@dataclass(frozen=True)
class Columns:
    """The columns of a table, for X (n, m) int64."""

    name: ClassVar[str] = "columns"
    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self | None:
        """Learn of ``X`` (n, m); None where it is no table, where something may be lost, or where numbers are too large."""
        from isthmus.apps.compression.engines.columns_fit import learn

        if X.ndim != 2 or stride != 1 or len(X) < 16 or not 0 < X.shape[1] <= 4096 or np.abs(X).max() >= _REACH:
            return None
        return cls(tuple(learn(X, seed)))

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload and X itself."""
        if stride != 1 or X.ndim != 2 or X.shape[1] != len(self.columns) or np.abs(X).max(initial=0) >= _REACH:
            raise UnsuitedError
        encoder = Encoder()
        known = np.zeros(X.shape[::-1], np.int64)
        for j, column in enumerate(self.columns):
            Walk(column, j, known, self.columns, len(X)).run(encoder, column.ranks(X[:, j]))
        return encoder.to_bytes(), X

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return X (rows, m)."""
        decoder = Decoder(payload)
        known = np.zeros((len(self.columns), rows), np.int64)
        for j, column in enumerate(self.columns):
            Walk(column, j, known, self.columns, rows).run(decoder, None)
        return np.stack([column.values(u) for column, u in zip(self.columns, known, strict=True)], 1)

    def to_bytes(self) -> bytes:
        """Return the model column by column."""
        encoder = Encoder()
        encoder.put_integers(np.array([len(self.columns)]))
        for c in self.columns:
            lengths = [len(c.levels), len(c.parents), len(c.causes), len(c.weights)]
            encoder.put_integers(np.array([c.least, c.size, int(c.tree), c.intercept, *lengths]))
            encoder.put_integers(np.diff(c.levels, prepend=c.least))
            encoder.put_integers(np.array([*c.parents, *c.causes]))
            encoder.put_integers(np.array(c.weights))
        return encoder.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        decoder = Decoder(data)
        count = int(decoder.get_integers(1)[0])
        if not 0 < count <= 4096:
            raise DataError("the model of the columns describes no table; the file is damaged.")
        return cls(tuple(_column(decoder, j, 64 * len(data) + 64) for j in range(count)))


def _column(decoder: Decoder, j: int, most: int) -> Column:
    least, size, tree, intercept, *lengths = decoder.get_integers(8).tolist()
    levels, parents, causes, weights = lengths
    fine = 0 <= levels <= most and 0 <= parents <= _PARENTS and 0 <= causes <= j and weights in (0, causes + 1)
    if not (fine and tree in (0, 1) and 0 < size <= 2 * _REACH and abs(least) <= _REACH and abs(intercept) <= _REACH):
        raise DataError("the model of the columns describes a column that none can be; the file is damaged.")
    values = np.cumsum(decoder.get_integers(levels)) + (least if levels else 0)
    others = decoder.get_integers(parents + causes)
    weighed = decoder.get_integers(weights)
    ordered = not levels or (levels == size and (np.diff(values) > 0).all())
    if not ordered or ((others < 0) | (others >= j)).any() or (np.abs(weighed) > 1 << 40).any():
        raise DataError("the model of the columns describes a column that none can be; the file is damaged.")
    others = others.tolist()
    return Column(
        least,
        size,
        tuple(values.tolist()),
        bool(tree),
        tuple(others[:parents]),
        tuple(others[parents:]),
        tuple(weighed.tolist()),
        intercept,
    )


class Walk:
    """One column of n rows on its way through the coder; ``known`` (m, n) holds the ranks of earlier columns, and takes its own."""

    def __init__(self, column: Column, j: int, known: np.ndarray, columns: tuple[Column, ...], rows: int) -> None:
        self.column, self.known, self.j, self.rows = column, known, j, rows
        self.steps = int(np.clip(rows // _LANES, 1, _STEPS))
        self.lanes = -(-rows // self.steps)
        self.parents = [columns[a].binned(known[a]) for a in column.parents]
        self.linear = self._linear() if column.weights else np.full(rows, column.size // 2 if not column.tree else 0)
        depth = max(int(column.size - 1).bit_length(), 1)
        slots = int(np.clip(int(rows * min(depth, 12)).bit_length() + 1, 8, _SLOTS))
        self.depth = depth
        self.errors = np.zeros(rows, np.int64)
        contexts = len(self._contexts(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)))
        self.mixer = Mixer(contexts, 24 if column.tree else 72, slots)

    def _linear(self) -> np.ndarray:
        """Return the prediction (n,) as far as it is by earlier columns, of unit 2^-16."""
        total = np.full(self.rows, self.column.intercept, np.int64)
        for a, weight in zip(self.column.causes, self.column.weights, strict=False):
            total += weight * self.known[a]
        return total

    def run(self, coder: Encoder | Decoder, ranks: np.ndarray | None) -> None:
        """Write ``ranks``, or read them, into ``known``."""
        if self.column.size == 1:
            return
        own = self.known[self.j]
        for step in range(self.steps):
            rows = np.arange(self.lanes) * self.steps + step
            rows = rows[rows < self.rows]
            if not len(rows):
                continue
            first = np.full(len(rows), step == 0)
            before = own[np.maximum(rows - 1, 0)]
            P = self._predicted(rows, before, first)
            contexts = self._contexts(rows, P, first)
            told = None if ranks is None else ranks[rows]
            if self.column.tree:
                own[rows] = self._tree(coder, contexts, told, len(rows))
            else:
                r = self._residual(coder, contexts, None if told is None else told - P, len(rows))
                own[rows], self.errors[rows] = P + r, r

    def _predicted(self, rows: np.ndarray, before: np.ndarray, first: np.ndarray) -> np.ndarray:
        if not self.column.weights:
            return self.linear[rows]
        back = self.column.weights[-1]
        total = self.linear[rows] + back * np.where(first, self.column.size // 2, before)
        return np.clip((total + (1 << _SHIFT >> 1)) >> _SHIFT, 0, self.column.size - 1)

    def _contexts(self, rows: np.ndarray, P: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Return the contexts (c, n) of some rows, hashed."""
        own = self.known[self.j]
        back = np.maximum(rows - 1, 0)
        before = np.where(first, -1, own[back])
        parts = [p[rows] for p in self.parents]
        earlier = [np.where(first, -1, p[back]) for p in self.parents]
        found = [hashed(np.zeros_like(P))]
        coarse = P if self.column.size <= 4 * _BINS else P // (-(-self.column.size // _BINS))
        if self.column.tree:
            found.append(hashed(before, 1))
            found.append(hashed(before, np.where(first, -1, own[np.maximum(rows - 2, 0)]), 2))
        else:
            error = np.where(first, 0, self.errors[back])
            size = bit_lengths(np.abs(error).astype(np.uint64))
            found.append(hashed(size, np.sign(error), 1))
            found.append(hashed(size, *parts[:1], 2))
            found.append(hashed(before, P, 14))
        if self.column.weights:
            found.append(hashed(coarse, 3))
            found.append(hashed(coarse, *parts[:1], 4))
            if self.column.tree:
                found.append(hashed(P, 13))
        for i, part in enumerate(parts):
            found.append(hashed(part, 5 + i))
        for i in range(2, len(parts) + 1):
            found.append(hashed(*parts[:i], 20 + i))
        if parts:
            found.append(hashed(parts[0], before, 11))
            found.append(hashed(parts[0], earlier[0], before, 12))
        return np.stack(found)

    def _decide(self, coder, contexts, node, which, told) -> np.ndarray:
        """Code one decision (n,) at these nodes."""
        p = self.mixer.probabilities((hashed(contexts, node[None] + 1) >> np.uint64(20)).astype(np.int64), which)
        table = np.stack([np.zeros_like(p), 65536 - p, np.full_like(p, 65536)], 1)
        if told is None:
            bits = coder.get(table)
        else:
            bits = told
            coder.put(bits, table)
        self.mixer.learn(bits)
        return bits

    def _tree(self, coder, contexts, told, n: int) -> np.ndarray:
        node = np.ones(n, np.int64)
        low = max(self.depth - _DEPTH, 0)
        for depth in range(self.depth - 1, low - 1, -1):
            which = np.full(n, min(depth, 23))
            bits = self._decide(coder, contexts, node, which, None if told is None else (told >> depth) & 1)
            node = 2 * node + bits
        high = (node - (1 << (self.depth - low))) << low
        if told is None:
            return high + coder.get_bits(n, low).astype(np.int64)
        coder.put_bits(told & ((1 << low) - 1), low)
        return told

    def _residual(self, coder, contexts, told, n: int) -> np.ndarray:
        size = None if told is None else np.abs(told)
        some = np.arange(n)
        at = np.zeros(n, np.int64)

        def decide(node, which, bits):
            return self._decide(coder, contexts[:, some], at[some] + node, np.full(len(some), which), bits)

        more = decide(0, 0, None if told is None else (told != 0).astype(np.int64))
        some = some[more == 1]
        sign = np.ones(n, np.int64)
        exponent = np.zeros(n, np.int64)
        if len(some):
            sign[some] = 1 - 2 * decide(1, 1, None if told is None else (told[some] < 0).astype(np.int64))
        moving = some
        e = 0
        while len(moving) and e < 62:
            some = moving
            bits = decide(2 + e, 2 + e, None if size is None else (size[some] >> (e + 1) > 0).astype(np.int64))
            exponent[some] += bits
            moving = some[bits == 1]
            e += 1
        value = (more == 1).astype(np.int64)
        for i in range(_MANTISSA):
            some = np.flatnonzero((more == 1) & (exponent > i))
            if len(some):
                at[some] = 100 + exponent[some] * 8 + value[some]
                told_bits = None if size is None else (size[some] >> (exponent[some] - 1 - i)) & 1
                value[some] = 2 * value[some] + decide(0, 65 + i, told_bits)
        for width in np.unique(exponent[exponent > _MANTISSA]).tolist():
            place = np.flatnonzero(exponent == width)
            low = width - _MANTISSA
            if size is None:
                value[place] = (value[place] << low) + coder.get_bits(len(place), low).astype(np.int64)
            else:
                coder.put_bits(size[place] & ((1 << low) - 1), low)
                value[place] = size[place]
        return sign * value
