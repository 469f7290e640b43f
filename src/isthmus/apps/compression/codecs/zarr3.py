"""The codec of Zarr 3: ``zarr.create_array(.., serializer=IsthmusCodec(abs=0.01), compressors=None)``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from isthmus.apps.compression.codecs.chunk_coder import NAME, ChunkCoder
from isthmus.errors import SettingError


@dataclass(frozen=True, init=False)
class IsthmusCodec(ArrayBytesCodec):
    """Chunks as .isth files, lossless or within a bound; parameters as of `ChunkCoder`.

    >>> IsthmusCodec(abs=0.01).to_dict()
    {'name': 'isthmus', 'configuration': {'abs': 0.01}}
    """

    is_fixed_size = False
    coder: ChunkCoder = field(compare=False)
    settings: str

    def __init__(self, **settings: Any) -> None:
        coder = ChunkCoder(**settings)
        object.__setattr__(self, "coder", coder)
        object.__setattr__(self, "settings", repr(coder.to_dict()))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the codec that a store describes."""
        codec = cls()
        coder = ChunkCoder.from_dict(data.get("configuration", {}))
        object.__setattr__(codec, "coder", coder)
        object.__setattr__(codec, "settings", repr(coder.to_dict()))
        return codec

    def to_dict(self) -> dict[str, Any]:
        """Return what a store keeps of the codec."""
        return {"name": NAME, "configuration": self.coder.to_dict()}

    def validate(self, *, shape: Any, dtype: Any, chunk_grid: Any) -> None:
        """Refuse what is no number."""
        kind = dtype.to_native_dtype()
        if kind.kind not in "biufcmM":
            raise SettingError(f"the codec {NAME!r} is for numbers and dates, not {kind}; choose another serializer.")

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return self._encode_sync(chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_data, chunk_spec)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return chunk_spec.prototype.buffer.from_bytes(self.coder.encode(np.asarray(chunk_data.as_numpy_array())))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        found = self.coder.decode(chunk_data.to_bytes()).astype(chunk_spec.dtype.to_native_dtype(), copy=False)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(found.reshape(chunk_spec.shape))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Nobody knows before."""
        raise NotImplementedError
