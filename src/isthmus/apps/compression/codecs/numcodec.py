"""The codec of numcodecs: ``zarr.create_array(.., zarr_format=2, compressors=IsthmusCodec(abs=0.01))``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ndarray_copy

from isthmus.apps.compression.codecs.chunk_coder import NAME, ChunkCoder


class IsthmusCodec(Codec):
    """Chunks as .isth files, lossless or within a bound; parameters as of `ChunkCoder`."""

    codec_id = NAME

    def __init__(self, **settings: Any) -> None:
        self.coder = ChunkCoder(**settings)

    def encode(self, buf: Any) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - numcodecs says None
        """Return an array, or bytes, as bytes."""
        return self.coder.encode(np.asarray(buf))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the array; copied into ``out`` where it is given."""
        found = self.coder.decode(bytes(buf))
        return found if out is None else ndarray_copy(found, out)

    def get_config(self) -> dict[str, Any]:
        """Return what a store keeps of the codec."""
        return {"id": NAME, **self.coder.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild the codec that a store describes."""
        codec = cls()
        codec.coder = ChunkCoder.from_dict({name: value for name, value in config.items() if name != "id"})
        return codec
