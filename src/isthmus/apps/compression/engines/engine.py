"""What an engine is: a coder of integer arrays, exact or within half a stride, in integer arithmetic alone.

X (n, *shape) int64 -- encode --> payload, X'        |X - X'| <= (stride - 1) / 2
payload -- decode --> X'                             the same bits everywhere
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from isthmus.errors import DataError

LEARNED: dict[str, str] = {
    "context": "isthmus.apps.compression.engines.context:Context",
    "latent": "isthmus.apps.compression.engines.latent:Latent",
    "columns": "isthmus.apps.compression.engines.columns:Columns",
    "lattice": "isthmus.apps.compression.engines.lattice:Lattice",
}
"""Engines that learn a model, by the name that files call them: "module:class", imported when one is needed."""

CLASSICAL: dict[str, str] = {
    "classical": "isthmus.apps.compression.engines.classical:Classical",
    "residuals": "isthmus.apps.compression.engines.residuals:Residuals",
}
"""Engines without a model: the floor. They are built of the shape of a sample alone."""


class UnsuitedError(Exception):
    """An engine's way to decline a chunk (values beyond its range, say); the chunk goes to another."""


@runtime_checkable
class Engine(Protocol):
    """A coder of integer arrays. Only the range of the values is promised, |X| < 2^53; bit patterns fill int64.

    ``stride`` is odd: 1 asks for exactly ``X``, M for anything within (M - 1) / 2 of it, so that a prediction P may be
    corrected in steps of M: X' = P + k M with k the whole number nearest to (X - P) / M. 0 asks for no bound: codes alone.
    """

    name: ClassVar[str]

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str) -> Self | None:
        """Learn of ``X`` (n, *shape); None where this engine is not for such data. ``effort``: quick, default, thorough."""
        ...

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload of one chunk of rows, and the X' that ``decode`` will give. May raise UnsuitedError."""
        ...

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return X' (rows, *shape) int64. Integer arithmetic only; no torch."""
        ...

    def to_bytes(self) -> bytes:
        """Return the model: small whole numbers, coded; the same model gives the same bytes."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild what ``to_bytes`` wrote; what does not fit is a DataError, before anything large is allocated."""
        ...


def engine_class(name: str) -> Any:
    """Return the class of an engine by the name that files call it."""
    place = LEARNED.get(name) or CLASSICAL.get(name)
    if place is None:
        raise DataError(f"the file was coded by an engine {name!r}, which this version does not know; update isthmus.")
    module, _, kind = place.partition(":")
    return getattr(import_module(module), kind)


def nearest(X: np.ndarray, stride: int) -> np.ndarray:
    """Return the whole number nearest to X / stride; an odd stride knows no ties.

    >>> nearest(np.array([-3, -2, -1, 0, 1, 2, 3]), 3)
    array([-1, -1,  0,  0,  0,  1,  1])
    """
    return X if stride == 1 else (X + stride // 2) // stride
