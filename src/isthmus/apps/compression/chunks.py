"""A chunk of a file back to values, and the models that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from isthmus.apps.compression import container
from isthmus.apps.compression.engines.engine import Engine
from isthmus.apps.compression.forms import Form
from isthmus.errors import DataError


@dataclass(frozen=True)
class Model:
    """A learned engine as a file carries it."""

    name: str
    data: bytes

    @property
    def hash(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def record(self) -> bytes:
        """The payload of its record."""
        name = self.name.encode("ascii")
        return bytes([len(name)]) + name + self.data


def decoded(form: Form, engine: Engine | None, rows: int, packed: bytes) -> Any:
    """Return the values of a chunk, not yet compared with their checksum."""
    shape = (rows, *form.shape)
    chunk = container.unpack_chunk(packed, rows * int(np.prod(form.shape)))
    extras = container.unpack_extras(chunk.extras, shape, form.width)
    if chunk.engine == "":
        again = np.zeros(shape, np.int64)
        if again.size:
            raise DataError("it names no engine")
    elif engine is None:
        raise DataError(f"its engine {chunk.engine!r} is not at hand")
    else:
        again = engine.decode(chunk.payload, rows, form.stride)
    if again.shape != shape or again.dtype != np.int64:
        raise DataError(f"the engine {chunk.engine!r} gave {again.shape} {again.dtype}")
    return form.values(again, extras)
