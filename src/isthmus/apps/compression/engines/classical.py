"""The floor: differences, the smallest width that holds them, and Zstandard or xz. No model, no learning beyond a choice.

X -- nearest steps of the stride --> k -- filter --> r -- arrangement, width --> bytes -- codec --> payload
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, NamedTuple, Self

import numpy as np

from isthmus.apps.compression import filters, squeezing
from isthmus.apps.compression.engines.engine import nearest
from isthmus.errors import DataError

_ROWS, _PLANES, _COLUMNS = 0, 1, 2
_PLAIN, _ZSTD, _XZ = 0, 1, 2
_HEAD = struct.Struct("<BQ")
_STREAM = struct.Struct("<BBq")
_MOST_COLUMNS = 1024
_SAMPLE = 1 << 17
_TRIED = 2


class Way(NamedTuple):
    """One way to write whole numbers."""

    filter: int
    arrangement: int
    codec: int


@dataclass(frozen=True)
class Classical:
    """Zstandard and xz, or plain bytes, after the filters and arrangements that serve best."""

    name: ClassVar[str] = "classical"
    shape: tuple[int, ...]
    ways: tuple[Way, ...] = ()
    """Those that are tried on every chunk; where a chunk is small or none are given, the ways are chosen anew."""
    effort: str = "default"

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self:
        few = nearest(X[: max(1, _SAMPLE // max(1, int(np.prod(X.shape[1:]))))], max(stride, 1))
        ways = _ways(few, effort)
        if effort != "thorough" and len(few) < len(X):
            ways = sorted(ways, key=lambda way: len(_written(few, way, effort)))[:_TRIED]
        return cls(X.shape[1:], tuple(ways), effort)

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        k = nearest(X, max(stride, 1))
        ways = self.ways if self.ways and X.size > _SAMPLE else _ways(k, self.effort)
        return min((_written(k, way, self.effort) for way in ways), key=len), k * max(stride, 1)

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        if len(payload) < _HEAD.size:
            raise DataError("the payload is too short")
        shape = (rows, *self.shape)
        codec, size = _HEAD.unpack_from(payload)
        if size > 8 * int(np.prod(shape)) + _STREAM.size * (int(np.prod(self.shape)) + 1):
            raise DataError(f"the payload announces {size:,} bytes, more than its numbers can take")
        release = {_PLAIN: squeezing.exactly, _ZSTD: squeezing.from_zstd, _XZ: squeezing.from_xz}.get(codec)
        if release is None:
            raise DataError("the payload names no known codec")
        return _restored(release(payload[_HEAD.size :], size), shape) * max(stride, 1)

    def to_bytes(self) -> bytes:
        return b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        raise DataError("an engine without a model has none to read")


def _ways(k: np.ndarray, effort: str) -> list[Way]:
    """Return the ways worth trying: no filter, and the filters that leave the smallest numbers."""
    columns = int(np.prod(k.shape[1:]))
    few = k[: max(1, _SAMPLE // max(1, columns))]
    suited = filters.suitable(k.ndim)
    costs = {which: filters.cost(filters.apply(few, which)) for which in suited}
    best = sorted(suited[1:], key=lambda which: costs[which])[: None if effort == "thorough" else _TRIED]
    arrangements = [_ROWS, _PLANES]
    ways = [
        Way(which, arrangement, codec) for which, arrangement, codec in product([0, *best], arrangements, (_ZSTD, _XZ))
    ]
    if 1 < columns <= _MOST_COLUMNS:
        ways += [Way(0, _COLUMNS, _ZSTD), Way(0, _COLUMNS, _XZ)]
    ways = [way for way in ways if way.codec == _ZSTD] if effort == "quick" else ways
    return [Way(0, _ROWS, _PLAIN), *ways]


def _written(k: np.ndarray, way: Way, effort: str) -> bytes:
    body = _arranged(k, way)
    head = _HEAD.pack(way.codec, len(body))
    if way.codec == _PLAIN:
        return head + body
    if way.codec == _ZSTD:
        return head + squeezing.to_zstd(body, 3 if effort == "quick" else 19)
    extreme = len(body) <= 1 << 20 or effort == "thorough"
    return head + squeezing.to_xz(body, body[1] & 15 if way.arrangement == _ROWS else 1, 9 | 1 << 31 if extreme else 6)


def _arranged(k: np.ndarray, way: Way) -> bytes:
    """Return filtered numbers as bytes, led by how to undo it: rows as they stand, byte planes, or column by column."""
    if way.arrangement != _COLUMNS:
        return _stream(filters.apply(k, way.filter), way.filter, way.arrangement == _PLANES)
    columns = []
    for column in k.reshape(len(k), -1).T:
        which = min((0, 1, 5), key=lambda each: filters.cost(filters.apply(column, each)))
        columns.append(_stream(filters.apply(column, which), which, True))
    return bytes([255]) + b"".join(columns)


def _stream(r: np.ndarray, which: int, planes: bool) -> bytes:
    low = int(r.min()) if r.size else 0
    span = (int(r.max()) if r.size else 0) - low
    width = next(width for width in (0, 1, 2, 4, 8) if span < 1 << (8 * width))
    data = (r - np.int64(low)).astype(np.uint64).astype(f"<u{width}").tobytes() if width else b""
    if planes and width > 1:
        data = np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()
    return _STREAM.pack(which, width | (16 if planes else 0), low) + data


def _restored(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    if not body.startswith(b"\xff"):
        k, used = _unstream(body, 0, shape)
    else:
        k, used = np.empty((shape[0], int(np.prod(shape[1:]))), np.int64), 1
        for column in range(k.shape[1]):
            k[:, column], used = _unstream(body, used, shape[:1])
    if used != len(body):
        raise DataError("the payload does not end where its numbers do")
    return k.reshape(shape)


def _unstream(body: bytes, at: int, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Return the numbers of a stream that begins at ``at``, and where it ends."""
    count = int(np.prod(shape))
    if len(body) < at + _STREAM.size:
        raise DataError("the payload ends within a stream")
    which, form, low = _STREAM.unpack_from(body, at)
    width, end = form & 15, at + _STREAM.size + count * (form & 15)
    if width not in (0, 1, 2, 4, 8) or which not in filters.suitable(len(shape)) or end > len(body):
        raise DataError("the payload describes a stream that it does not hold")
    if not width:
        return filters.undo(np.full(shape, low, np.int64), which), end
    data = body[at + _STREAM.size : end]
    if form & 16 and width > 1:
        data = np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()
    r = np.frombuffer(data, f"<u{width}").astype(np.uint64).view(np.int64) + np.int64(low)
    return filters.undo(r.reshape(shape), which), end
