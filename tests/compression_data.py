"""Data of every kind for the tests of compression, and an engine that learns next to nothing."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.engines.engine import LEARNED, UnsuitedError, nearest
from isthmus.errors import DataError

GOLDEN = Path(__file__).parent / "golden"


class Middle:
    """Predicts the mean of what it learned of: the least that a learned engine can be."""

    name: ClassVar[str] = "middle"

    def __init__(self, mean: int, shape: tuple[int, ...]) -> None:
        self.mean, self.shape = mean, shape

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self | None:
        return cls(int(X.mean()), X.shape[1:]) if stride else None

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        if np.abs(X).max(initial=0) > 2**50:
            raise UnsuitedError
        k = nearest(X - self.mean, stride)
        encoder = Encoder()
        encoder.put_integers(k.reshape(-1))
        return encoder.to_bytes(), self.mean + stride * k

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        k = Decoder(payload).get_integers(rows * int(np.prod(self.shape)))
        return self.mean + stride * k.reshape(rows, *self.shape)

    def to_bytes(self) -> bytes:
        return np.array([self.mean, *self.shape], "<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        if len(data) % 8 or not data:
            raise DataError("a model of the mean is made of words of eight bytes")
        mean, *shape = np.frombuffer(data, "<i8").tolist()
        return cls(mean, tuple(shape))


class Liar(Middle):
    """Decodes something else than it promised."""

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        return super().decode(payload, rows, stride) + (rows > 5)


def register(monkeypatch: Any, kind: type[Middle] = Middle) -> None:
    """Make an engine known for one test."""
    monkeypatch.setitem(LEARNED, "middle", f"{kind.__module__}:{kind.__name__}")


def near_a_million(rows: int = 3000) -> np.ndarray:
    """Return numbers that `Middle` codes best: it alone knows the mean, and small differences go by Elias' code."""
    rng = np.random.default_rng(0)
    return 1_000_000 + rng.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(rows, 4))


def same_bits(a: Any, b: Any) -> bool:
    """Say whether two arrays agree in dtype, shape and every bit."""
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
    )


def digest(file: Path) -> str:
    """Return what a file decodes to, whole and row block by row block, as a number."""
    with Archive(file) as archive:
        data = archive.read()
        pieces = [archive[at : at + 7] for at in range(0, len(archive), 7)]
    if isinstance(data, np.ndarray):
        assert b"".join(piece.tobytes() for piece in pieces) == data.tobytes()
        return f"{data.dtype.str} {data.shape} {zlib.crc32(data.tobytes()):08x}"
    return f"{data.schema.names} {zlib.crc32(repr(data.to_pydict()).encode()):08x}"
