"""How codes are held: as they are, in one byte a number, or in one bit."""

from __future__ import annotations

import tempfile
from typing import Protocol

import numpy as np

from isthmus.errors import DataError


class Store(Protocol):
    """Codes (n, d), held in whatever form; what is taken is float32."""

    name: str

    @property
    def is_reranked(self) -> bool:
        """Are distances to the nearest measured on other codes than those that are searched?"""
        ...

    def __len__(self) -> int: ...
    def at(self, place: slice | np.ndarray) -> np.ndarray:
        """Return codes (.., d) as they are compared."""
        ...

    def exact(self, place: np.ndarray) -> np.ndarray:
        """Return codes (.., d) as the last word on a distance."""
        ...

    def extend(self, codes: np.ndarray) -> None: ...
    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a saved index holds of them."""
        ...

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        ...


class Full:
    """Codes as they are, float32: 4 d bytes each."""

    name = "float32"
    is_reranked = False

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, place: slice | np.ndarray) -> np.ndarray:
        return self.codes[place]

    exact = at

    def extend(self, codes: np.ndarray) -> None:
        self.codes = np.concatenate([self.codes, codes])

    def arrays(self) -> dict[str, np.ndarray]:
        return {"codes": self.codes}

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes


class Rounded:
    """Codes in d bytes: each number rounded to one of 255 steps between the least and the largest of its dimension.

    With ``full``, codes in float32 that lie on disk, distances to the nearest are measured exactly in the end.
    """

    name = "int8"

    def __init__(self, codes: np.ndarray, offset: np.ndarray, step: np.ndarray, full: np.ndarray | None = None) -> None:
        self.codes, self.offset, self.step, self.full = codes, offset, step, full

    @classmethod
    def of(cls, codes: np.ndarray, rerank: bool) -> Rounded:
        """Learn the steps of codes (n, d), and round them."""
        low, high = codes.min(0), codes.max(0)
        offset, step = (low + high) / 2, np.where(high > low, (high - low) / 254, np.float32(1))
        return cls(_rounded(codes, offset, step), offset, step, on_disk(codes) if rerank else None)

    @property
    def is_reranked(self) -> bool:
        return self.full is not None

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, place: slice | np.ndarray) -> np.ndarray:
        return self.codes[place] * self.step + self.offset

    def exact(self, place: np.ndarray) -> np.ndarray:
        return self.at(place) if self.full is None else self.full[place]

    def extend(self, codes: np.ndarray) -> None:
        beyond = (np.abs(codes - self.offset) > 127.5 * self.step).any(1)
        if beyond.any():
            raise DataError(
                f"row {int(beyond.argmax())} has a code outside the range that int8 was scaled to; make a new index of all "
                "rows, or use store='float32'."
            )
        self.codes = np.concatenate([self.codes, _rounded(codes, self.offset, self.step)])
        if self.full is not None:
            self.full = on_disk(self.full, codes)

    def arrays(self) -> dict[str, np.ndarray]:
        arrays = {"codes": self.codes, "offset": self.offset, "step": self.step}
        return arrays if self.full is None else arrays | {"full": self.full}

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes


class Bits:
    """Codes of bits, eight to a byte."""

    name = "binary"
    is_reranked = False

    def __init__(self, packed: np.ndarray, d: int) -> None:
        self.packed, self.d = packed, d

    @classmethod
    def of(cls, codes: np.ndarray) -> Bits:
        """Pack codes (n, d) of zeros and ones."""
        return cls(pack(codes), codes.shape[1])

    def __len__(self) -> int:
        return len(self.packed)

    def at(self, place: slice | np.ndarray) -> np.ndarray:
        bits = np.unpackbits(self.packed[place].view(np.uint8), axis=-1, count=self.d)
        return bits.astype(np.float32)

    exact = at

    def extend(self, codes: np.ndarray) -> None:
        self.packed = np.concatenate([self.packed, pack(codes)])

    def arrays(self) -> dict[str, np.ndarray]:
        return {"packed": self.packed.view(np.uint8)}

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes


def pack(codes: np.ndarray) -> np.ndarray:
    """Pack bits (n, d) into words (n, ceil(d / 64)) uint64, the first bit the highest of the first byte."""
    if not ((codes == 0) | (codes == 1)).all():
        raise DataError("store='binary' holds codes of zeros and ones; fit ist.binary(), or use store='int8'.")
    bits = np.packbits(codes != 0, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def on_disk(*pieces: np.ndarray) -> np.ndarray:
    """Return the pieces one after the other as an array that lies in a nameless temporary file, gone with the array."""
    shape = (sum(map(len, pieces)), *pieces[0].shape[1:])
    with tempfile.TemporaryFile() as file:  # the map outlives it
        mapped = np.memmap(file, pieces[0].dtype, "w+", shape=shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
    start = 0
    for piece in pieces:
        mapped[start : start + len(piece)] = piece
        start += len(piece)
    return mapped


def _rounded(codes: np.ndarray, offset: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((codes - offset) / step), -127, 127).astype(np.int8)
