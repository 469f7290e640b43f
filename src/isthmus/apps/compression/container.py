"""The bytes of an .isth file: magic, header, records, index. Every byte stands under a checksum; nothing is unpickled.

magic (8) | version (2) | 0 (2) | length (4) | CRC-32 (4) | header: canonical JSON
record*: head (40) | payload       SCHM: the form; MODL: a model; CHNK: some rows; INDX: where the chunks are, and the end
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from isthmus.apps.compression import squeezing
from isthmus.apps.compression.forms import MOST_VALUES, Extras
from isthmus.errors import DataError

MAGIC = b"\x89IST\r\n\x1a\n"
"""As PNG's: a high bit, both kinds of line ends, an end of text; a transfer in text mode breaks it visibly."""
VERSION = 1
_START = struct.Struct("<8sHHII")
_HEAD = struct.Struct("<4sIQQQII")
"""Kind, number, length of the payload, first row, rows, CRC-32 of the payload, CRC-32 of this head."""
_CHUNK = struct.Struct("<B4I8s")
"""Length of the engine's name; of what is kept: places, values, signs, texts; checksum of the decoded values."""
_PLACE = struct.Struct("<QQ")
_END = struct.Struct("<QI4s")
_END_MARK = b"IST\x1a"
_MOST_HEADER = 1 << 24


class Head(NamedTuple):
    """The head of a record."""

    kind: bytes
    number: int
    length: int
    first: int
    rows: int
    crc: int

    @property
    def named(self) -> str:
        """What errors call it."""
        if self.kind == b"CHNK":
            return f"chunk {self.number} (rows {self.first:,} to {self.first + self.rows:,})"
        return {b"SCHM": "the schema", b"MODL": f"model {self.number}", b"INDX": "the index"}.get(self.kind, "a record")


@dataclass(frozen=True)
class Place:
    """Where a chunk is, as the index says."""

    offset: int
    first: int
    rows: int


class Chunk(NamedTuple):
    """What a chunk holds."""

    engine: str
    payload: bytes
    extras: tuple[bytes, bytes, bytes, bytes]
    """Packed: where values are kept, the values, signs, texts."""
    digest: bytes


def canonical(value: Any) -> bytes:
    """Write JSON in the one way."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def start(header: dict[str, Any]) -> tuple[bytes, int]:
    """Return the first bytes of a file, and the number that marks its records as its own."""
    text = canonical(header)
    bare = _START.pack(MAGIC, VERSION, 0, len(text), 0)[:-4]
    identity = zlib.crc32(bare + text)
    return bare + identity.to_bytes(4, "little") + text, identity


def read_start(stream: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header of a file, and its identity; the stream stands at the first record then."""
    head = stream.read(_START.size)
    if not head.startswith(MAGIC):
        if head[:4] == MAGIC[:4] or head[1:4] == MAGIC[1:4]:
            raise DataError(
                "the file was changed by a transfer in text mode, or damaged, in its first bytes; copy it as binary."
            )
        raise DataError("this is no .isth file: it does not begin like one.")
    if len(head) < _START.size:
        raise DataError("the header is cut off; the file is damaged, copy it again.")
    _, version, _, length, identity = _START.unpack(head)
    if version > VERSION:
        raise DataError(f"the header says format {version}; this version reads up to {VERSION}: update isthmus.")
    text = stream.read(min(length, _MOST_HEADER))
    if len(text) != length or zlib.crc32(head[:-4] + text) != identity:
        raise DataError("the header is damaged: its checksum does not fit; copy the file again.")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise DataError(f"the header is no JSON ({error}).") from error
    if not isinstance(header, dict):
        raise DataError("the header is not made of names and values.")
    return header, identity


def record(kind: bytes, number: int, payload: bytes, identity: int, first: int = 0, rows: int = 0) -> bytes:
    """Return a record; its head says whose it is, so that a record of another file is known as strange."""
    bare = _HEAD.pack(kind, number, len(payload), first, rows, zlib.crc32(payload), 0)[:-4]
    return bare + zlib.crc32(bare, identity).to_bytes(4, "little") + payload


def read_head(stream: BinaryIO, identity: int, left: int | None, expected: str) -> Head:
    """Return the head of the record that begins here; ``left``: how many bytes the file has from here on."""
    data = stream.read(_HEAD.size)
    if len(data) < _HEAD.size:
        raise DataError(f"{expected} is cut off: the file ends within it.")
    *parts, crc = _HEAD.unpack(data)
    if zlib.crc32(data[:-4], identity) != crc:
        raise DataError(f"{expected} is damaged: the checksum of its head does not fit.")
    head = Head(*parts)
    if left is not None and head.length > left - _HEAD.size:
        raise DataError(f"{head.named} is cut off: it says {head.length:,} bytes, the file has {left - _HEAD.size:,}.")
    return head


def read_payload(stream: BinaryIO, head: Head) -> bytes:
    """Return the payload of a record, read in pieces so that nothing is allocated that the file does not hold."""
    pieces, missing = [], head.length
    while missing:
        piece = stream.read(min(missing, 1 << 22))
        if not piece:
            raise DataError(f"{head.named} is cut off: the file ends within it.")
        pieces.append(piece)
        missing -= len(piece)
    payload = b"".join(pieces)
    if zlib.crc32(payload) != head.crc:
        raise DataError(f"{head.named} is damaged: its checksum does not fit.")
    return payload


def pack_chunk(chunk: Chunk, values: int) -> bytes:
    """Return a chunk as the payload of a record, padded where it would say too much in too few bytes."""
    name = chunk.engine.encode("ascii")
    head = _CHUNK.pack(len(name), *map(len, chunk.extras), chunk.digest)
    body = b"".join([head, name, *chunk.extras, len(chunk.payload).to_bytes(8, "little"), chunk.payload])
    return body + bytes(max(0, -(-values // squeezing.EXPANSION) - len(body)))


def unpack_chunk(payload: bytes, values: int) -> Chunk:
    """Return what a chunk holds; more values than its bytes justify are refused."""
    if values > MOST_VALUES or values > squeezing.EXPANSION * len(payload):
        raise DataError(f"{len(payload):,} bytes announce {values:,} values, which is more than they can hold")
    if len(payload) < _CHUNK.size:
        raise DataError("it ends within its head")
    named, *lengths, digest = _CHUNK.unpack_from(payload)
    ends = np.cumsum([_CHUNK.size, named, *lengths, 8]).tolist()
    if ends[-1] > len(payload):
        raise DataError("its sections are longer than itself")
    sections = [payload[a:b] for a, b in pairwise(ends)]
    size = int.from_bytes(sections[5], "little")
    if ends[-1] + size > len(payload) or any(payload[ends[-1] + size :]):
        raise DataError("its sections do not end where it ends")
    name = sections[0].decode("ascii", "replace")
    body = payload[ends[-1] : ends[-1] + size]
    return Chunk(name, body, (sections[1], sections[2], sections[3], sections[4]), digest)


def pack_extras(extras: Extras) -> tuple[bytes, bytes, bytes, bytes]:
    """Return what no engine sees as bytes."""
    kept = squeezing.squeeze(extras.kept) if extras.kept_at is not None else b""
    side = squeezing.with_size(extras.side) if extras.side else b""
    return squeezing.pack_mask(extras.kept_at), kept, squeezing.pack_mask(extras.negative), side


def unpack_extras(packed: tuple[bytes, bytes, bytes, bytes], shape: tuple[int, ...], width: int) -> Extras:
    """Return what no engine sees of a chunk of ``shape``, where values that are kept have ``width`` bytes."""
    kept_at, negative = squeezing.unpack_mask(packed[0], shape), squeezing.unpack_mask(packed[2], shape)
    kept = b"" if kept_at is None else squeezing.release(packed[1], width * int(kept_at.sum()))
    side = squeezing.sized(packed[3], 1 << 31) if packed[3] else b""
    return Extras(kept_at, kept, negative, side)


def pack_index(places: list[Place], offset: int, identity: int) -> bytes:
    """Return the index as a record that ends with the way to its own beginning."""
    body = b"".join(_PLACE.pack(place.offset, place.rows) for place in places)
    tail = offset.to_bytes(8, "little")
    return record(b"INDX", len(places), body + _END.pack(offset, zlib.crc32(tail, identity), _END_MARK), identity)


def unpack_index(payload: bytes) -> list[Place]:
    """Return where the chunks are."""
    places, first = [], 0
    for offset, rows in _PLACE.iter_unpack(payload[: -_END.size]):
        places.append(Place(offset, first, rows))
        first += rows
    return places


def index_offset(tail: bytes, identity: int) -> int:
    """Return where the index begins, as the last bytes of a file say."""
    if len(tail) < _END.size:
        raise DataError("the index is cut off.")
    offset, crc, mark = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or zlib.crc32(tail[-_END.size : -_END.size + 8], identity) != crc:
        raise DataError("the index is damaged or cut off: the file does not end as one should.")
    return offset


END_SIZE = _END.size
HEAD_SIZE = _HEAD.size
