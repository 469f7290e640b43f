"""Symbols 0 .. A - 1 by a hurdle and a mixture of logistics: what a network says, told to the coder bit by bit.

Is the symbol 0? One chance. If not, symbols 1 .. A - 1 are halved again and again; each half has the chance that the mixture
gives it, so only one value of the cumulative distribution is needed for each bit, and never a whole table for each symbol.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np

from isthmus.apps.compression.coder import BITS, Decoder, Encoder
from isthmus.apps.compression.engines.integers import OUTPUT_FRACTION, SIGMOID_BITS, SIGMOID_STEP, power_table, sigmoid

COMPONENTS = 5
OUTPUTS = 3 * COMPONENTS + 1
"""Logits, means, logarithms of scales, and the logit of the hurdle."""
_WEIGHT_BITS = 14
_FLOOR_BITS = 10
"""2^-10 of the mass is spread evenly over the symbols, so that each can be coded."""
_GREY = 3
"""Means are in units of 2^-3 symbols."""
_SCALES = 8
"""Scales in steps of 2^(1/8), from 2^-3 symbols up."""
_FRACTION_OF_SCALE = 10


class Mixture(NamedTuple):
    """What a network says of each of ``rows`` symbols, whole numbers."""

    weight: np.ndarray
    """(COMPONENTS, rows), about 2^_WEIGHT_BITS in all."""
    mean: np.ndarray
    """(COMPONENTS, rows) in 2^-_GREY symbols."""
    inverse: np.ndarray
    """(COMPONENTS, rows) what turns a distance in 2^-_GREY symbols into an argument of the sigmoid's table."""

    @classmethod
    def read(cls, outputs: np.ndarray, guess: np.ndarray, depth: int) -> Mixture:
        """Return the mixture that ``outputs`` (OUTPUTS, rows) describe around ``guess`` (rows,); 2^depth >= A symbols.

        In units of the outputs, means move by 2^depth / 8 symbols, scales by octaves.
        """
        K = COMPONENTS
        whole = outputs.astype(np.int64)
        logit = _halved(whole[:K], OUTPUT_FRACTION - 5)
        share = _exponentials()[np.minimum(logit.max(0) - logit, 511)]
        weight = (share << _WEIGHT_BITS) // share.sum(0)
        mean = (guess.astype(np.int64) << _GREY) + _halved(whole[K : 2 * K], OUTPUT_FRACTION - depth)
        inverse = power_table(-_SCALES * (depth - 1), _SCALES * 3, _SCALES, SIGMOID_STEP - _GREY + _FRACTION_OF_SCALE)
        scale = _halved(whole[2 * K : 3 * K], OUTPUT_FRACTION - 3) + 3 * _SCALES  # steps above 2^-3 symbols
        top = len(inverse) - 1
        return cls(weight, mean, inverse[top - np.clip(scale, 0, top)])

    def below(self, edge: np.ndarray, count: int) -> np.ndarray:
        """Return the mass of the symbols 1 .. ``edge`` of ``count``, (rows,), in units that ``total`` gives."""
        floor = edge * ((1 << (_WEIGHT_BITS + SIGMOID_BITS - _FLOOR_BITS)) // count)
        bound = (edge << _GREY) + (1 << (_GREY - 1))  # between the symbols edge and edge + 1
        for weight, mean, inverse in zip(self.weight, self.mean, self.inverse, strict=True):
            floor += weight * sigmoid(((bound - mean) * inverse) >> _FRACTION_OF_SCALE)
        return floor


class Wire(Protocol):
    """Where bits go, or come from."""

    def __call__(self, chances: np.ndarray, flips: np.ndarray | None) -> np.ndarray:
        """Write ``flips`` (or read them, where they are None); return them, bool (n,)."""
        ...


def writing(encoder: Encoder) -> Wire:
    """Return the wire into an encoder."""

    def wire(chances: np.ndarray, flips: np.ndarray | None) -> np.ndarray:
        assert flips is not None
        encoder.put_flips(flips, chances)
        return flips

    return wire


def reading(decoder: Decoder) -> Wire:
    """Return the wire out of a decoder."""
    return lambda chances, flips: decoder.get_flips(chances)


class Tally:
    """A wire that only adds up what the bits would cost."""

    def __init__(self) -> None:
        self.bits = 0.0

    def __call__(self, chances: np.ndarray, flips: np.ndarray | None) -> np.ndarray:
        """Add -log2 of the chances of what happened."""
        assert flips is not None
        self.bits -= float(np.log2(np.where(flips, chances, (1 << BITS) - chances) / (1 << BITS)).sum())
        return flips


def transfer(
    outputs: np.ndarray, guess: np.ndarray, depth: int, count: int, wire: Wire, symbols: np.ndarray | None
) -> np.ndarray:
    """Send ``symbols`` (rows,) of 0 .. count through the wire, or receive them where they are None; return them, int64."""
    result = np.zeros(len(guess), np.int64)
    zero = wire(_hurdle(outputs[-1]), None if symbols is None else symbols == 0)
    place = np.flatnonzero(~zero)
    if not len(place):
        return result
    rest = Mixture.read(outputs[:, place], guess[place], depth)
    index = None if symbols is None else symbols[place] - 1  # 0 .. count - 1
    first = np.zeros(len(place), np.int64)
    total = (1 << (_WEIGHT_BITS + SIGMOID_BITS)) + count * ((1 << (_WEIGHT_BITS + SIGMOID_BITS - _FLOOR_BITS)) // count)
    low, high = np.zeros_like(first), np.full_like(first, total)
    for level in range((count - 1).bit_length() - 1, -1, -1):
        half = first + (1 << level)
        middle = np.where(half < count, np.minimum(rest.below(np.minimum(half, count), count), high), high)
        chance = ((high - middle) << BITS) // np.maximum(high - low, 1)
        upper = wire(np.clip(chance, 1, (1 << BITS) - 1), None if index is None else index >= half)
        first = np.where(upper, half, first)
        low, high = np.where(upper, middle, low), np.where(upper, high, middle)
    result[place] = np.minimum(first, count - 1) + 1
    return result


def _hurdle(logit: np.ndarray) -> np.ndarray:
    """Return the chance of the symbol 0, in 2^BITS."""
    chance = sigmoid(logit.astype(np.int64) >> (OUTPUT_FRACTION - SIGMOID_STEP)) >> (SIGMOID_BITS - BITS)
    return np.clip(chance, 1, (1 << BITS) - 1)


@cache
def _exponentials() -> np.ndarray:
    """Return round(2^14 exp(-i / 32)) for i = 0 .. 511: the softmax of whole numbers."""
    context = Context(prec=24)
    return np.array(
        [int((context.exp(Decimal(-i) / 32) * (1 << 14)).to_integral_value(context=context)) for i in range(512)],
        np.int64,
    )


def _halved(values: np.ndarray, shift: int) -> np.ndarray:
    """Return values / 2^shift, to the nearest whole number."""
    return (values + (1 << shift >> 1)) >> shift
