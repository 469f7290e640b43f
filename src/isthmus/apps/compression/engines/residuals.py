"""Differences by the range coder: what pcodec and the backends of SZ do, with integer tables that are written along.

Numbers go in blocks of up to 256; a block says how large its numbers are on the whole, and the tables of that size serve it.
A number is its sign and size (a symbol) and the bits below, which are as good as random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression import filters
from isthmus.apps.compression.coder import Decoder, Encoder, Tables, bit_lengths, frequencies
from isthmus.apps.compression.engines.engine import nearest
from isthmus.apps.compression.filters import PLAIN, SYMBOLS, joined, middle, split
from isthmus.errors import DataError

_BLOCK = 256
_FEW_BLOCKS = 16
_SAMPLE = 1 << 17
_MOST_COLUMNS = 256


@dataclass(frozen=True)
class Residuals:
    """Range-coded differences; every column of a narrow matrix has its own filter and tables."""

    name: ClassVar[str] = "residuals"
    shape: tuple[int, ...]

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self:
        return cls(X.shape[1:])

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        k = nearest(X, max(stride, 1))
        ways = [self._whole(k)]
        if k.ndim == 2 and 1 < k.shape[1] <= _MOST_COLUMNS:
            ways.append(b"\1" + _coded([_chosen(column) for column in k.T]))
        return min(ways, key=len), k * max(stride, 1)

    def _whole(self, k: np.ndarray) -> bytes:
        return b"\0" + _coded([_chosen(k)])

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        shape = (rows, *self.shape)
        by_column = payload[:1] == b"\1"
        if by_column and len(shape) != 2:
            raise DataError("the payload holds columns, but the chunk has none")
        shapes = [shape[:1]] * shape[1] if by_column else [shape]
        streams = _decoded(payload[1:], shapes)
        return (np.stack(streams, axis=1) if by_column else streams[0]) * max(stride, 1)

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        raise DataError("an engine without a model has none to read")


def _chosen(k: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the filter that leaves the smallest numbers, and those."""
    few = k[: max(1, _SAMPLE // max(1, int(np.prod(k.shape[1:]))))]
    which = min(filters.suitable(k.ndim), key=lambda each: filters.cost(filters.apply(few, each)))
    return which, filters.apply(k, which)


def _coded(streams: list[tuple[int, np.ndarray]]) -> bytes:
    encoder = Encoder()
    for which, r in streams:
        flat = r.reshape(-1)
        center = middle(flat)
        encoder.put_integers(np.array([which, center]))
        symbols, widths, below = split(flat - center)
        levels = _levels(symbols)
        encoder.put_integers(np.diff(levels, prepend=0))
        used, place = np.unique(np.repeat(levels, _BLOCK)[: len(symbols)], return_inverse=True)
        counts = [_rough(np.bincount(symbols[place == table])) for table in range(len(used))]
        for count in counts:
            encoder.put_integers(np.array([len(count)]))
            encoder.put_integers(count)
        if len(symbols):
            encoder.put(symbols, _tables(counts), place)
        for width in np.unique(widths[widths > 0]):
            encoder.put_bits(below[widths == width], int(width))
    return encoder.to_bytes()


def _decoded(data: bytes, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    decoder = Decoder(data)
    streams = []
    for shape in shapes:
        which, center = decoder.get_integers(2).tolist()
        if which not in filters.suitable(len(shape)):
            raise DataError("the payload names no known filter")
        total = int(np.prod(shape))
        levels = np.cumsum(decoder.get_integers(-(-total // _BLOCK)))
        used, place = np.unique(np.repeat(levels, _BLOCK)[:total], return_inverse=True)
        counts = []
        for _ in used:
            length = int(decoder.get_integers(1)[0])
            if not 0 < length <= SYMBOLS:
                raise DataError("the payload holds a table that cannot be")
            counts.append(np.maximum(decoder.get_integers(length), 0))
        symbols = decoder.get(_tables(counts), place) if total else np.zeros(0, np.int64)
        widths = np.maximum((symbols - PLAIN) // 4 + 3, 0)
        widths[symbols < PLAIN] = 0
        below = np.zeros(total, np.uint64)
        for width in np.unique(widths[widths > 0]):
            here = widths == width
            below[here] = decoder.get_bits(int(here.sum()), int(width))
        r = joined(symbols, widths, below) + np.int64(center)
        streams.append(filters.undo(r.reshape(shape), which))
    return streams


def _levels(symbols: np.ndarray) -> np.ndarray:
    """Return how large the numbers of each block are on the whole, in half octaves; of short streams all are alike."""
    blocks = -(-len(symbols) // _BLOCK)
    if blocks <= _FEW_BLOCKS:
        return np.zeros(blocks, np.int64)
    octaves = np.where(symbols < PLAIN, bit_lengths(symbols.astype(np.uint64)), 6 + (symbols - PLAIN) // 4)
    sums = np.add.reduceat(octaves, np.arange(0, len(symbols), _BLOCK))
    counts = np.full(blocks, _BLOCK)
    counts[-1] = len(symbols) - _BLOCK * (blocks - 1)
    return 2 * sums // counts


def _rough(counts: np.ndarray) -> np.ndarray:
    """Return counts to four significant bits, which is all that is written of them."""
    shift = np.maximum(bit_lengths(counts.astype(np.uint64)) - 4, 0)
    return (counts >> shift) << shift


def _tables(counts: list[np.ndarray]) -> Tables:
    width = max(map(len, counts))
    weights = np.stack([np.pad(count, (0, width - len(count))) for count in counts])
    return Tables(frequencies(np.minimum(weights, 1 << 40)))
