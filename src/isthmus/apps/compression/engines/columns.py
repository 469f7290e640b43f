"""Tables without loss: column after column, every value given columns of its row and of the rows around, decision by decision.

What is learned is small: the order of the columns, which of them a column looks at, and the weights of its linear predictions.
The statistics themselves are gathered by the decoder as it goes (`columns_mixing`, `columns_guess`), and cost no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, bit_lengths
from isthmus.apps.compression.engines.columns_plan import NUMBERS, OTHERS, PARENTS, PREDICTORS, REACH, Column, Predictor
from isthmus.apps.compression.engines.columns_walk import Walk
from isthmus.apps.compression.engines.engine import UnsuitedError
from isthmus.errors import DataError

_MOST = 4096


@dataclass(frozen=True)
class Columns:
    """The columns of a table in the order in which they are coded, for X (n, m) int64."""

    name: ClassVar[str] = "columns"
    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self | None:
        """Learn of ``X`` (n, m); None where it is no table, or where something may be lost."""
        from isthmus.apps.compression.engines.columns_fit import learn

        if X.ndim != 2 or stride != 1 or len(X) < 16 or not 0 < X.shape[1] <= _MOST:
            return None
        return cls(tuple(learn(X, effort)))

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload and X itself."""
        if stride != 1 or X.ndim != 2 or X.shape[1] != len(self.columns):
            raise UnsuitedError
        encoder = Encoder()
        known = np.zeros(X.shape[::-1], np.int64)
        for j, column in enumerate(self.columns):
            Walk(column, j, known, self.columns, len(X)).run(encoder, column.ranks(X[:, column.place]))
        return encoder.to_bytes(), X

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return X (rows, m)."""
        decoder = Decoder(payload)
        known = np.zeros((len(self.columns), rows), np.int64)
        X = np.zeros((rows, len(self.columns)), np.int64)
        for j, column in enumerate(self.columns):
            Walk(column, j, known, self.columns, rows).run(decoder, None)
            X[:, column.place] = column.values(known[j])
        return X

    def to_bytes(self) -> bytes:
        """Return the model column by column."""
        encoder = Encoder()
        encoder.put_integers(np.array([len(self.columns)]))
        for j, column in enumerate(self.columns):
            _put(encoder, column, j)
        return encoder.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        decoder = Decoder(data)
        count = int(decoder.get_integers(1)[0])
        if not 0 < count <= _MOST:
            raise DataError("the model of the columns describes no table; the file is damaged.")
        columns = tuple(_get(decoder, j, 64 * len(data) + 64) for j in range(count))
        if sorted(c.place for c in columns) != list(range(count)):
            raise DataError("the model of the columns leaves a column out; the file is damaged.")
        return cls(columns)


def _put(encoder: Encoder, c: Column, j: int) -> None:
    encoder.put_integers(np.array([c.place - j, c.least, c.size, len(c.levels)]))
    if c.levels:
        _put_gaps(encoder, np.diff(np.array(c.levels, np.int64)).astype(np.uint64))
    encoder.put_bits(np.array([c.mode, len(c.parents), len(c.others), len(c.predictors)]), 3)
    for a, lag in (*c.parents, *c.others):
        encoder.put_bits(np.array([a]), j.bit_length())
        encoder.put_bits(np.array([lag + 1]), 2)
    for p in c.predictors:
        encoder.put_integers(np.array([len(p.causes), p.spread]))
        encoder.put_bits(np.array([x + 1 for cause in p.causes for x in cause]), j.bit_length())
        numbers = [*p.weights, p.back, p.intercept]
        shifts = [(n & -n).bit_length() - 1 if n else 0 for n in numbers]
        encoder.put_bits(np.array(shifts), 6)
        encoder.put_integers(np.array([n >> shift for n, shift in zip(numbers, shifts, strict=True)]))


def _put_gaps(encoder: Encoder, gaps: np.ndarray) -> None:
    """Write whole numbers (n,) uint64: how many bits each has, and those bits."""
    widths = bit_lengths(gaps)
    least = int(widths.min(initial=64))
    room = int(widths.max(initial=0)) - least if len(gaps) else 0
    encoder.put_bits(np.array([least, max(room, 0)]), 7)
    encoder.put_bits(widths - least, max(room, 0).bit_length())
    for width in np.unique(widths).tolist():
        encoder.put_bits(gaps[widths == width], width)


def _gaps(decoder: Decoder, count: int) -> np.ndarray:
    """Read what ``_put_gaps`` wrote, as int64 that may wrap around."""
    least, room = decoder.get_bits(2, 7).tolist()
    widths = least + decoder.get_bits(count, room.bit_length()).astype(np.int64)
    if room > 64 or (widths > 64).any():
        raise DataError("the model of the columns lists values that none can be; the file is damaged.")
    gaps = np.zeros(count, np.uint64)
    for width in np.unique(widths).tolist():
        gaps[widths == width] = decoder.get_bits(int((widths == width).sum()), width)
    return gaps.view(np.int64)


def _get(decoder: Decoder, j: int, most: int) -> Column:
    step, least, size, levels = decoder.get_integers(4).tolist()
    if not (0 <= levels <= most and 0 < size <= REACH and (not levels or levels == size)):
        raise DataError("the model of the columns describes a column that none can be; the file is damaged.")
    gaps = _gaps(decoder, levels - 1) if levels else np.zeros(0, np.int64)
    values = np.cumsum(np.concatenate([[least], gaps])) if levels else gaps
    mode, parents, others, predictors = decoder.get_bits(4, 3).tolist()
    fine = (
        (values[1:] > values[:-1]).all()
        and least <= (1 << 63) - size
        and mode <= predictors <= (PREDICTORS if size <= NUMBERS else 0)
    )
    looked = []
    for _ in range(parents + others):
        looked.append((int(decoder.get_bits(1, j.bit_length())[0]), int(decoder.get_bits(1, 2)[0]) - 1))
    if not fine or parents > PARENTS or others > OTHERS or any(a >= j or lag > 1 for a, lag in looked):
        raise DataError("the model of the columns describes a column that none can be; the file is damaged.")
    said = tuple(_predictor(decoder, j) for _ in range(predictors))
    return Column(
        j + step, least, size, tuple(values.tolist()), mode, tuple(looked[:parents]), tuple(looked[parents:]), said
    )


def _predictor(decoder: Decoder, j: int) -> Predictor:
    count, spread = decoder.get_integers(2).tolist()
    if not (0 <= count <= 4 * _MOST and 0 < spread <= NUMBERS << 8):
        raise DataError("the model of the columns predicts what none can; the file is damaged.")
    causes = (decoder.get_bits(2 * count, j.bit_length()).astype(np.int64) - 1).reshape(-1, 2)
    shifts = decoder.get_bits(count + 2, 6).astype(np.int64)
    numbers = decoder.get_integers(count + 2)
    if (causes[:, 0] < 0).any() or (causes >= j).any() or (np.abs(numbers) >= 1 << 61 - np.minimum(shifts, 60)).any():
        raise DataError("the model of the columns predicts by what is not there; the file is damaged.")
    *weights, back, intercept = (numbers << shifts).tolist()
    return Predictor(tuple((a, b) for a, b in causes.tolist()), tuple(weights), back, intercept, spread)
