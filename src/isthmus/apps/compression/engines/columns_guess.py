"""Guesses at a number: a law around a prediction, as wide as errors were in like rows, halved interval by interval.

prediction (g, n) --errors so far in its context--> centre, scale --logistic--> log-odds of one interval to another

Whole numbers throughout: predictions and scales in 256ths, chances of 2^40.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from isthmus.apps.compression.coder import bit_lengths
from isthmus.apps.compression.engines.columns_mixing import ODDS
from isthmus.apps.compression.grid import exp2

UNIT = 256
_SLOTS = 12
_PRIOR = 3
"""The scale that was learned counts as so many rows."""
_MOST = 255
_ONE = 40
_FAR = 16
_REACH = 1 << 40


@cache
def _logistic() -> np.ndarray:
    """Return the chance of 2^40 to lie below z, z = -_FAR .. _FAR in 256ths."""
    z = np.arange(-_FAR * 256, _FAR * 256 + 1) / 256
    return np.rint(2.0**_ONE / (1 + exp2(-z * 1.4426950408889634))).astype(np.int64)


@cache
def _logarithms() -> np.ndarray:
    """Return ODDS ln(1 + i / 1024), i = 0 .. 1023: integers found by comparing powers."""
    ladder = exp2((np.arange(ODDS) - 0.5) / ODDS * 1.4426950408889634)
    return np.searchsorted(ladder, 1 + np.arange(1024) / 1024, side="right") - 1


def logarithm(x: np.ndarray) -> np.ndarray:
    """Return ODDS ln x, rounded, of whole numbers x > 0."""
    octave = bit_lengths(x.astype(np.uint64)) - 1
    leading = np.where(octave > 10, x >> np.maximum(octave - 10, 0), x << np.maximum(10 - octave, 0)) & 1023
    return octave * 181_704 // 1024 + _logarithms()[leading]  # 256 ln 2 = 177.446


class Guesses:
    """Guesses at the numbers 0 .. size - 1 of one column; ``spreads`` (g,): the scales they begin with."""

    def __init__(self, size: int, spreads: np.ndarray) -> None:
        self.size, self.spreads = size, spreads[:, None]
        self.base = (np.arange(len(spreads)) << _SLOTS)[:, None]
        self.sums, self.sizes, self.counts = (np.zeros(len(spreads) << _SLOTS, np.int64) for _ in range(3))
        self.coarse = max(size.bit_length() - 28, 0)
        self.floor = (1 << 28) // ((size >> self.coarse) + 1)

    def look(self, predictions: np.ndarray, slots: np.ndarray) -> None:
        """Take in the predictions (g, n) for some rows and the contexts (g, n) of their errors."""
        self.place = (slots & ((1 << _SLOTS) - 1)) + self.base
        counts = self.counts[self.place]
        self.predictions = predictions
        self.centre = np.clip(predictions + self.sums[self.place] // (counts + _PRIOR), 0, (self.size - 1) * UNIT)
        scale = (self.sizes[self.place] + _PRIOR * self.spreads) // (counts + _PRIOR)
        self.scale = np.maximum(scale, UNIT // 16)

    def below(self, edge: np.ndarray) -> np.ndarray:
        """Return the chance (g, n) of numbers below ``edge`` (n,), of a little more than 2^40."""
        z = (edge * UNIT - UNIT // 2 - self.centre) * 355 // self.scale  # E|z| is ln 4 of the ordinary one
        return _logistic()[np.clip(z, -_FAR * 256, _FAR * 256) + _FAR * 256] + (edge >> self.coarse) * self.floor

    def choose(self, rows: np.ndarray) -> Guesses:
        """Return the guesses for some of the rows looked at."""
        some = object.__new__(Guesses)
        some.size, some.floor, some.coarse = self.size, self.floor, self.coarse
        some.centre, some.scale = self.centre[:, rows], self.scale[:, rows]
        return some

    def odds(self, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
        """Return the log-odds (g, n) that a number is of the second of two parts whose chances are given."""
        return logarithm(np.maximum(one, 1)) - logarithm(np.maximum(zero, 1))

    def learn(self, u: np.ndarray) -> None:
        """Take in the numbers (n,) of the rows looked at."""
        error = u * UNIT - self.predictions
        place = self.place.reshape(-1)
        np.add.at(self.sums, place, np.clip(error, -_REACH, _REACH).reshape(-1))
        np.add.at(self.sizes, place, np.minimum(np.abs(u * UNIT - self.centre), _REACH).reshape(-1))
        np.add.at(self.counts, place, 1)
        full = np.unique(place[self.counts[place] > _MOST])
        for table in (self.sums, self.sizes, self.counts):
            table[full] //= 2
