"""Networks of whole numbers: the same answer on every machine, for any number of rows, threads and any order of summation.

Weights, inputs and activations are whole numbers. Products are taken by ``@`` in float32 where every partial sum is sure to
stay below 2^24, otherwise in float64 (below 2^53): exact, so that no order of summation can change a bit (Balle et al. 2019
ask for integers for the same reason). Where a formula wants exp or a sigmoid there is a table, made with decimal arithmetic,
which is specified to the last digit.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, frequencies
from isthmus.errors import DataError

HIGHEST = 1023
"""Activations are 0 .. HIGHEST."""
FRACTION = 7
"""An activation a stands for a / 2^FRACTION."""
OUTPUT_FRACTION = 15
"""An output o stands for o / 2^OUTPUT_FRACTION."""
SIGMOID_STEP = 11
"""The table of the sigmoid has 2^SIGMOID_STEP entries for each unit of its argument."""
SIGMOID_BITS = 20
_REACH = 12
_LARGEST_TABLE = 1 << 24


class Layer(NamedTuple):
    """floor((weight x + bias) / 2^shift): ``weight`` (out, in), ``bias`` (out,), whole numbers."""

    weight: np.ndarray
    bias: np.ndarray
    shift: int


class IntegerNet:
    """Layers of whole numbers with activations cut to 0 .. HIGHEST between them.

    Parameters
    ----------
    layers : the last one's answer is neither shifted nor cut.
    largest : the largest magnitude of an input.
    slack : the largest magnitude of what is added to the sums of the first layer.
    """

    def __init__(self, layers: list[Layer], largest: int, slack: int = 0) -> None:
        self.layers, self.largest = layers, largest
        self._ready = []
        for layer, bound in zip(layers, [largest] + [HIGHEST] * (len(layers) - 1), strict=True):
            sums = np.abs(layer.weight).sum(1, dtype=np.float64) * bound + np.abs(layer.bias)
            reach = int(sums.max(initial=0)) + slack
            slack = 0
            if reach >= 1 << 52:
                raise DataError(f"sums of a layer may reach {reach}, which float64 cannot hold; the model is damaged.")
            dtype = np.float32 if reach < 1 << 24 else np.float64
            self._ready.append(
                (layer.weight.astype(dtype), layer.bias.astype(dtype)[:, None], dtype(2.0**-layer.shift))
            )

    def __call__(self, x: np.ndarray, added: np.ndarray | None = None) -> np.ndarray:
        """Return the last layer's sums (out, rows) for ``x`` (in, rows), whole numbers held in floats."""
        for weight, bias, scale in self._ready[:-1]:
            h = weight @ x.astype(weight.dtype, copy=False)
            h += bias if added is None else bias + added
            added = None
            h *= scale
            x = np.clip(np.floor(h, out=h), 0, HIGHEST, out=h)
        weight, bias, _ = self._ready[-1]
        return weight @ x.astype(weight.dtype, copy=False) + bias


@cache
def sigmoid_table() -> np.ndarray:
    """Return 2^SIGMOID_BITS / (1 + exp(-u)) for u = i / 2^SIGMOID_STEP - 12, as int64; rises from >= 0 to < 2^SIGMOID_BITS."""
    context, half = Context(prec=24), _REACH << SIGMOID_STEP
    step = context.exp(context.divide(Decimal(-1), Decimal(1 << SIGMOID_STEP)))
    power, one, total = Decimal(1), Decimal(1), Decimal(1 << SIGMOID_BITS)
    upper = np.empty(half, np.int64)
    for i in range(half):
        upper[i] = int(context.divide(total, context.add(one, power)))
        power = context.multiply(power, step)
    lower = (1 << SIGMOID_BITS) - np.append(upper, upper[-1])[:0:-1]
    return np.concatenate([lower, upper])


def sigmoid(u: np.ndarray) -> np.ndarray:
    """Return the sigmoid of ``u`` / 2^SIGMOID_STEP in units of 2^-SIGMOID_BITS; ``u`` whole."""
    half = _REACH << SIGMOID_STEP
    return sigmoid_table()[np.clip(u, -half, half - 1) + half]


@cache
def power_table(first: int, last: int, steps: int, bits: int) -> np.ndarray:
    """Return round(2^bits * 2^(i / steps)) for i = first .. last, int64."""
    context = Context(prec=40)
    exponents = [context.divide(Decimal(i), Decimal(steps)) for i in range(first, last + 1)]
    powers = [context.multiply(context.power(Decimal(2), e), Decimal(1 << bits)) for e in exponents]
    return np.array([int(power.to_integral_value(context=context)) for power in powers], np.int64)


def put_layers(encoder: Encoder, layers: list[Layer]) -> None:
    """Write layers of which the reader knows the widths."""
    for weight, bias, shift in layers:
        encoder.put_integers(np.array([shift]))
        put_array(encoder, weight)
        put_array(encoder, bias)


def get_layers(decoder: Decoder, widths: tuple[int, ...]) -> list[Layer]:
    """Return the layers between ``widths`` (inputs, .., outputs) that ``put_layers`` wrote."""
    layers = []
    for inputs, outputs in pairwise(widths):
        shift = int(decoder.get_integers(1)[0])
        layer = Layer(get_array(decoder, (outputs, inputs)), get_array(decoder, (outputs,)), shift)
        if not 0 <= shift < 32 or any(abs(part).max() >= 1 << 40 or abs(part).min() < 0 for part in layer[:2]):
            raise DataError("the numbers of a model are out of their range; the file is damaged.")
        layers.append(layer)
    return layers


def put_array(encoder: Encoder, values: np.ndarray) -> None:
    """Write whole numbers of any shape (which the reader knows), each with a table of how often it occurs, or one by one."""
    flat = np.asarray(values, np.int64).ravel()
    low, high = (int(flat.min()), int(flat.max())) if len(flat) else (0, 0)
    counts = np.bincount(np.minimum(flat - low, 4096)) if high - low < 4096 else np.zeros(0, np.int64)
    dense = 0 < len(counts) < 2 * len(flat)
    encoder.put_integers(np.array([dense, low, high - low if dense else 0]))
    if dense and high == low:
        return
    if dense:
        # a two-sided exponential around the centre says the counts well enough, and costs two numbers
        middle = int(np.median(flat))
        centre, spread = middle - low, 1 + int(np.abs(flat - middle).mean() * 2 * np.pi)
        encoder.put_integers(np.array([centre, spread]))
        encoder.put(flat - low, _bell(len(counts), centre, spread), np.zeros(len(flat), np.int64))
    else:
        encoder.put_integers(flat)


def get_array(decoder: Decoder, shape: tuple[int, ...]) -> np.ndarray:
    """Return the whole numbers (shape) that ``put_array`` wrote, int64."""
    size = int(np.prod(shape, dtype=np.int64))
    if size > _LARGEST_TABLE:
        raise DataError(f"a model claims an array of {size} numbers; the file is damaged.")
    dense, low, span = decoder.get_integers(3).tolist()
    if not dense:
        return decoder.get_integers(size).reshape(shape)
    if not span:
        return np.full(shape, low, np.int64)
    centre, spread = decoder.get_integers(2).tolist()
    if not (0 <= span < 4096 and 0 <= centre <= span and 0 < spread < 1 << 20):
        raise DataError("the table of a model's weights does not fit; the file is damaged.")
    return (decoder.get(_bell(span + 1, centre, spread), np.zeros(size, np.int64)) + low).reshape(shape)


def _bell(count: int, centre: int, spread: int) -> np.ndarray:
    """Return cumulative frequencies (1, count + 1) in proportion to (1 + (4 distance / spread)^2)^-2, by whole numbers."""
    distance = 4 * (np.arange(count) - centre)
    weight = (1 << 30) // (spread * spread + distance * distance)
    return frequencies(np.maximum(weight * weight, 1)[None])
