"""One column of n rows on its way through the coder: in lanes, decision by decision.

rows in lanes (steps, lanes)      step t: all lanes at once; the row before is the step before, counts are of all steps before
rank -> decisions of a tree       or        rank - prediction -> zero? sign, exponent, mantissa
"""

from __future__ import annotations

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, bit_lengths
from isthmus.apps.compression.engines.columns_guess import UNIT, Guesses
from isthmus.apps.compression.engines.columns_mixing import Mixer, hashed
from isthmus.apps.compression.engines.columns_plan import Column

_STEPS = 128
_LANES = (16, 4096)
"""Rows go through in so many steps; in fewer or more where there would be fewer or more lanes than that."""
_SLOTS = 20
_DEPTH = 24
"""So many leading bits of a rank are modelled; the others are written as they are."""
_MANTISSA = 12
"""Likewise of a mantissa."""


class Walk:
    """Column ``j`` on its way; ``known`` (m, n) holds the ranks of earlier columns, and takes its own."""

    def __init__(self, column: Column, j: int, known: np.ndarray, columns: tuple[Column, ...], rows: int) -> None:
        self.column, self.known, self.j, self.rows = column, known, j, rows
        self.steps = int(np.clip(rows // _LANES[0], 1, max(_STEPS, rows // _LANES[1])))
        self.lanes = -(-rows // self.steps)
        at = np.arange(rows)
        looked = [
            columns[a].binned(known[a][np.clip(at + lag, 0, max(rows - 1, 0))])
            for a, lag in (*column.parents, *column.others)
        ]
        self.parents, self.others = looked[: len(column.parents)], looked[len(column.parents) :]
        self.linear = [predictor.over(known, columns, rows) for predictor in column.predictors]
        self.depth = max(int(column.size - 1).bit_length(), 1)
        self.errors = np.zeros(rows, np.int64)
        spreads = np.array([p.spread for p in column.predictors for _ in range(1 + bool(self.parents))], np.int64)
        self.guesses = Guesses(column.size, spreads) if column.predictors else None
        nothing = np.zeros(0, np.int64)
        contexts = len(self._contexts(nothing, nothing, nothing.astype(bool)))
        slots = int(np.clip(int(rows * min(self.depth, 16)).bit_length() + 1, 8, _SLOTS))
        kinds = 2 + 64 + _MANTISSA if column.mode else 64
        self.mixer = Mixer(contexts, len(spreads), kinds, slots, self.deep)

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
            predictions = self._predictions(rows, first)
            P = np.zeros(len(rows), np.int64)
            if self.column.mode:
                P = np.clip((predictions[self.column.mode - 1] + UNIT // 2) // UNIT, 0, self.column.size - 1)
            self.contexts = self._contexts(rows, P, first)
            if self.guesses is not None:
                self._guess(rows, predictions, first)
            told = None if ranks is None else ranks[rows]
            found = self._residual(coder, P, told) if self.column.mode else self._tree(coder, told, len(rows))
            own[rows] = found
            if self.guesses is not None:
                self.errors[rows] = found - (predictions[max(self.column.mode - 1, 0)] + UNIT // 2) // UNIT
                self.guesses.learn(found)

    def _predictions(self, rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Return what every predictor says (p, n), in UNITths."""
        before = np.where(first, self.column.size // 2, self.known[self.j][np.maximum(rows - 1, 0)])
        said = [p.finish(total[rows], before) for p, total in zip(self.column.predictors, self.linear, strict=True)]
        most = (self.column.size - 1) * UNIT
        return np.clip(np.stack(said), 0, most) if said else np.zeros((0, len(rows)), np.int64)

    def _guess(self, rows: np.ndarray, predictions: np.ndarray, first: np.ndarray) -> None:
        """Let the guesses know where they are: in rows after errors of such a size, and in rows with such parents."""
        assert self.guesses is not None
        error = np.where(first, 0, self.errors[np.maximum(rows - 1, 0)])
        slots = bit_lengths(np.abs(error).astype(np.uint64))
        if self.parents:
            p = len(predictions)
            told = self.parents[0][rows]
            predictions = np.repeat(predictions, 2, axis=0)
            slots = np.tile(np.stack([slots, told]), (p, 1))
        else:
            slots = np.tile(slots, (len(predictions), 1))
        self.guesses.look(predictions, slots)

    def _contexts(self, rows: np.ndarray, P: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Return the contexts (c, n) of some rows, hashed."""
        own = self.known[self.j]
        back = np.maximum(rows - 1, 0)
        before = np.where(first, -1, own[back])
        parts = [p[rows] for p in self.parents]
        found = [hashed(np.zeros_like(P))]
        if self.column.mode:
            error = np.where(first, 0, self.errors[back])
            size = bit_lengths(np.abs(error).astype(np.uint64))
            found.append(hashed(size, np.sign(error), 1))
            found.append(hashed(size, *parts[:1], 2))
            found.append(hashed(P, 14))
            found.append(hashed(before, P, 15))
        else:
            found.append(hashed(before, 1))
            found.append(hashed(before, np.where(first, -1, own[np.maximum(rows - 2, 0)]), 2))
        for i, part in enumerate(parts):
            found.append(hashed(part, 5 + i))
        for i in range(2, len(parts) + 1):
            found.append(hashed(*parts[:i], 20 + i))
        self.deep = len(found) - 1
        for i, other in enumerate(self.others):
            found.append(hashed(other[rows], 30 + i))
            found.append(hashed(other[rows], *parts[:1], 40 + i))
        if parts:
            found.append(hashed(parts[0], before, 11))
        if len(parts) > 1:
            found.append(hashed(parts[0], parts[1], before, 12))
        if len(parts) > 2:
            found.append(hashed(parts[1], parts[2], 13))
            found.append(hashed(parts[0], parts[2], 16))
        return np.stack(found)

    def _decide(self, coder, node, kind, told, some, zero, one) -> np.ndarray:
        """Code a decision (n,) at these nodes for some rows: of ``zero`` or ``one``, given by their ends; None: all else."""
        n = len(some)
        odds = np.zeros((0, n), np.int64)
        if self.guesses is not None:
            guesses = self.guesses.choose(some)
            edges = [guesses.below(edge) for edge in zero]
            chance = edges[1] - edges[0]
            if one is None:
                other = guesses.below(np.full(n, self.column.size)) - guesses.below(np.zeros(n, np.int64)) - chance
            else:
                other = guesses.below(one[1]) - (edges[1] if one[0] is zero[1] else guesses.below(one[0]))
            odds = guesses.odds(chance, other)
        slots = (hashed(self.contexts[:, some], node[None] + 1) >> np.uint64(20)).astype(np.int64)
        p = self.mixer.probabilities(slots, odds, np.full(n, kind))
        table = np.stack([np.zeros_like(p), 65536 - p, np.full_like(p, 65536)], 1)
        if told is None:
            bits = coder.get(table)
        else:
            bits = told
            coder.put(bits, table)
        self.mixer.learn(bits)
        return bits

    def _tree(self, coder, told, n: int) -> np.ndarray:
        """Code ranks (n,) from the largest bit to the smallest; where only one half is in use, nothing is said."""
        node = np.ones(n, np.int64)
        prefix = np.zeros(n, np.int64)
        size = self.column.size
        low = max(self.depth - _DEPTH, 0)
        for depth in range(self.depth - 1, low - 1, -1):
            start, middle = prefix << (depth + 1), (2 * prefix + 1) << depth
            some = np.flatnonzero(middle < size)
            bits = np.zeros(n, np.int64)
            end = np.minimum(middle[some] + (1 << depth), size)
            mid = middle[some]
            told_bits = None if told is None else (told[some] >> depth) & 1
            if len(some):
                bits[some] = self._decide(coder, node[some], depth, told_bits, some, (start[some], mid), (mid, end))
            node = 2 * node + bits
            prefix = 2 * prefix + bits
        if told is None:
            return (prefix << low) + coder.get_bits(n, low).astype(np.int64)
        coder.put_bits(told & ((1 << low) - 1), low)
        return told

    def _residual(self, coder, P: np.ndarray, ranks: np.ndarray | None) -> np.ndarray:
        """Code ranks (n,) by how far they are from P: whether at all, which way, within which power of two, and where there."""
        n, size = len(P), self.column.size
        told = None if ranks is None else ranks - P
        far = None if told is None else np.abs(told)
        everyone = np.arange(n)
        zero_or_not = None if told is None else (told != 0).astype(np.int64)
        nothing = np.zeros(n, np.int64)
        more = self._decide(coder, nothing, 0, zero_or_not, everyone, (P, P + 1), None)
        up = np.ones(n, np.int64)
        up[size - 1 == P] = 0
        some = np.flatnonzero((more == 1) & (P > 0) & (size - 1 > P))
        if len(some):
            bits = None if told is None else (told[some] > 0).astype(np.int64)
            below, above = (np.zeros(len(some), np.int64), P[some]), (P[some] + 1, np.full(len(some), size))
            up[some] = self._decide(coder, nothing[some] + 1, 1, bits, some, below, above)
        room = np.where(up == 1, size - 1 - P, P)
        exponent = np.zeros(n, np.int64)
        some = np.flatnonzero((more == 1) & (room > 1))
        e = 0
        while len(some):
            middle = np.full(len(some), 2 << e)
            bits = None if far is None else (far[some] >= 2 << e).astype(np.int64)
            zero = self._span(P[some], up[some], np.full(len(some), 1 << e), middle)
            one = self._span(P[some], up[some], middle, room[some] + 1)
            bits = self._decide(coder, nothing[some] + 2 + 2 * e + up[some], 2 + e, bits, some, zero, one)
            exponent[some] += bits
            e += 1
            some = some[(bits == 1) & (room[some] >= 2 << e)]
        low = np.where(more == 1, 1 << exponent, 0)
        for i in range(_MANTISSA):
            shift = exponent - 1 - i
            middle = low + (1 << np.maximum(shift, 0))
            some = np.flatnonzero((more == 1) & (shift >= 0) & (middle <= room))
            if len(some):
                bits = None if far is None else (far[some] >> shift[some]) & 1
                m, end = middle[some], np.minimum(middle[some] + (1 << shift[some]), room[some] + 1)
                zero, one = self._span(P[some], up[some], low[some], m), self._span(P[some], up[some], m, end)
                node = 200 + (exponent[some] << 40) + (low[some] >> shift[some]) * 2 + up[some]
                low[some] = np.where(self._decide(coder, node, 66 + i, bits, some, zero, one) == 1, m, low[some])
        for width in np.unique(exponent[(more == 1) & (exponent > _MANTISSA)]).tolist():
            place = np.flatnonzero((more == 1) & (exponent == width))
            rest = width - _MANTISSA
            if far is None:
                low[place] += coder.get_bits(len(place), rest).astype(np.int64)
            else:
                coder.put_bits(far[place] & ((1 << rest) - 1), rest)
                low[place] = far[place]
        return np.clip(P + np.where(up == 1, low, -low), 0, size - 1)

    @staticmethod
    def _span(P: np.ndarray, up: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks whose distance from P is low .. high - 1."""
        return np.where(up == 1, P + low, P - high + 1), np.where(up == 1, P + high, P - low + 1)
