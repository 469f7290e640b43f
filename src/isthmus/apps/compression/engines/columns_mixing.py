"""Binary decisions of many rows at once, by what was seen in several contexts: counts, what such counts came to, a mixture.

slots (c, n) --counts--> log-odds, states --what followed such states--> log-odds; weighted sum --> p, a table of one bit

Counts are adaptive, so contexts cost no bytes; they are brought up to date when all rows of a step are known (Mahoney 2005 for
the mixture in the logistic domain, and for the states). Whole numbers throughout: log-odds in 256ths, p and weights of 2^16.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from isthmus.apps.compression.grid import exp2

BITS = 16
ODDS = 256
"""Log-odds are whole numbers of which so many make one."""
_MOST = 1023
_QUARTERS = 8
"""Log-odds beyond this say no more."""
_BOUND = _QUARTERS * ODDS
_LEVELS = 12
_RATE = 14


@cache
def _log_odds() -> np.ndarray:
    """Return 256 ln(i + 0.4), i = 0 .. _MOST + 1: integers found by comparing powers, the same everywhere."""
    ladder = exp2(np.arange(-4 * 256, 12 * 256) / 256 * 1.4426950408889634)
    return np.searchsorted(ladder, np.arange(_MOST + 1) + 0.4) - 4 * 256


@cache
def _squash() -> np.ndarray:
    """Return p of 2^16 for log-odds -12 .. 12 in 256ths."""
    z = np.arange(-12 * 256, 12 * 256 + 1) / 256
    return np.clip(np.rint(65536 / (1 + exp2(-z * 1.4426950408889634))), 3, 65533).astype(np.int64)


@cache
def _level() -> np.ndarray:
    """Return which of _LEVELS a count belongs to."""
    return np.searchsorted([1, 2, 3, 4, 6, 9, 14, 24, 48, 120, 400], np.arange(_MOST + 1), side="right")


class Mixer:
    """The decisions of one column: their counts, states and weights.

    ``contexts``: how many there are; ``told``: how many log-odds come from elsewhere; ``sets``: how many sets of weights of the
    first kind, and of the second; ``slots``: 2^slots counts for each context.
    """

    def __init__(self, contexts: int, told: int, sets: int, slots: int, deep: int) -> None:
        self.deep = deep
        self.contexts = contexts
        self.slots = slots
        self.counts = np.zeros((2, contexts << slots), np.uint16)
        self.states = np.zeros((2, contexts * _LEVELS * _LEVELS), np.uint16)
        inputs = 2 * contexts + told
        start = np.full(inputs, (1 << 16) * 2 // (3 * contexts), np.int64)
        start[2 * contexts :] = (1 << 16) // (2 * max(told, 1))
        self.weights = [np.tile(start, (count, 1)) for count in (sets, _LEVELS)]
        self.base = (np.arange(contexts) << slots)[:, None]
        self.steps = [np.zeros(count, np.int64) for count in (sets, _LEVELS)]

    def probabilities(self, slots: np.ndarray, told: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Return p(1) of 2^16 for decisions (n,): their slots (contexts, n), other log-odds (told, n), sets of weights (n,)."""
        self.place = (slots & ((1 << self.slots) - 1)) + self.base
        zeros, ones = self.counts[0][self.place], self.counts[1][self.place]
        table = _log_odds()
        direct = table[ones] - table[zeros]
        level = _level()
        self.state = (level[zeros] * _LEVELS + level[ones]) + (np.arange(self.contexts) * _LEVELS**2)[:, None]
        indirect = table[self.states[1][self.state]] - table[self.states[0][self.state]]
        self.inputs = np.clip(np.concatenate([direct, indirect, told]), -_BOUND, _BOUND)  # (inputs, n)
        total = np.minimum(zeros[self.deep] + ones[self.deep], _MOST)
        self.which = kinds, level[total]
        weights = self.weights[0][self.which[0]] + self.weights[1][self.which[1]]
        mixed = np.einsum("cn,nc->n", self.inputs, weights) >> 17
        self.p = _squash()[np.clip(mixed, -12 * 256, 12 * 256) + 12 * 256]
        return self.p

    def learn(self, bits: np.ndarray) -> None:
        """Take in what the decisions came to."""
        one = bits.astype(bool)
        for counts, place in ((self.counts, self.place), (self.states, self.state)):
            np.add.at(counts[1], place[:, one].reshape(-1), 1)
            np.add.at(counts[0], place[:, ~one].reshape(-1), 1)
            touched = place.reshape(-1)
            over = counts[0][touched] + counts[1][touched] > _MOST
            while over.any():
                full = np.unique(touched[over])
                counts[:, full] >>= 1
                over = counts[0][touched] + counts[1][touched] > _MOST
        error = (bits << 16) - self.p
        for weights, which, steps in zip(self.weights, self.which, self.steps, strict=True):
            for chosen in np.unique(which).tolist():
                rows = which == chosen
                gradient = self.inputs[:, rows] @ error[rows]  # Q24
                steps[chosen] += 1
                weights[chosen] += (gradient >> _RATE) // max(int(int(rows.sum()) ** 0.5), 1)
                np.clip(weights[chosen], -(1 << 19), 1 << 19, out=weights[chosen])


def hashed(*parts: np.ndarray | int) -> np.ndarray:
    """Return one number (n,) for several, spread over 64 bits."""
    total = np.uint64(0x9E3779B97F4A7C15)
    for part in parts:
        total = (total ^ np.asarray(part).astype(np.int64).view(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        total = total ^ (total >> np.uint64(29))
    return np.asarray(total)
