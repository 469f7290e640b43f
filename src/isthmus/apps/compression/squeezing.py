"""Bytes <-> fewer bytes, by whichever general codec does it best; and never more coming back than was announced."""

from __future__ import annotations

import lzma
from itertools import pairwise

import numpy as np
import zstandard

from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.errors import DataError

_PLAIN, _ZSTD, _XZ = 0, 1, 2
_BITS, _CHANGES, _GAPS = 0, 1, 2
_DICTIONARY = 1 << 26
EXPANSION = 1 << 14
"""The most values, or bytes, that one byte of a file may stand for: what a file justifies to be allocated."""


def squeeze(data: bytes, thorough: bool = True) -> bytes:
    """Return ``data`` in the shortest of three ways, told apart by the first byte."""
    ways = [bytes([_PLAIN]) + data]
    if len(data) > 16:
        ways.append(bytes([_ZSTD]) + to_zstd(data, 19 if thorough else 3))
    if thorough and len(data) > 64:
        ways.append(bytes([_XZ]) + to_xz(data))
    return min(ways, key=len)


def release(data: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that ``squeeze`` was given."""
    if not data:
        raise DataError("a section is empty where there should be bytes")
    way, body = data[0], data[1:]
    if way == _PLAIN and len(body) == size:
        return body
    if way == _ZSTD:
        return from_zstd(body, size)
    if way == _XZ:
        return from_xz(body, size)
    raise DataError(f"a section of {len(body)} bytes does not hold the {size} that were announced")


def with_size(data: bytes) -> bytes:
    """Return ``data`` squeezed, led by its size."""
    return len(data).to_bytes(8, "little") + squeeze(data)


def sized(data: bytes, most: int) -> bytes:
    """Return what ``with_size`` was given; at most ``most`` bytes, and no more than the data justify."""
    size = int.from_bytes(data[:8], "little")
    if size > min(most, EXPANSION * len(data)):
        raise DataError(f"{len(data)} bytes announce {size:,}, which is more than they can hold")
    return release(data[8:], size)


def to_zstd(data: bytes, level: int) -> bytes:
    """Return ``data`` by Zstandard, without its size."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, write_content_size=False, window_log=max(10, min(26, len(data).bit_length()))
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def from_zstd(data: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that ``to_zstd`` was given."""
    try:
        found = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(data, max_output_size=max(size, 1))
    except zstandard.ZstdError as error:
        raise DataError(f"Zstandard cannot read it ({error})") from error
    return exactly(found, size)


def to_xz(data: bytes, width: int = 1, preset: int = 6) -> bytes:
    """Return ``data`` by LZMA2 as raw stream; ``width``: how many bytes a number has, of which the low ones vary alike."""
    if len(data) > 1 << 20:
        return lzma.compress(data, lzma.FORMAT_RAW, filters=_chain(len(data), width, preset))
    # whether bytes take turns, as in records of four, is known to nobody: small data are tried both ways
    ways = (_chain(len(data), width, preset), _chain(len(data), 0, preset))
    return min((lzma.compress(data, lzma.FORMAT_RAW, filters=way) for way in ways), key=len)


def from_xz(data: bytes, size: int) -> bytes:
    """Return the ``size`` bytes that ``to_xz`` was given."""
    try:
        reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_chain(size, 1, 6))
        found = reader.decompress(data, max_length=size + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"xz cannot read it ({error})") from error
    return exactly(found, size)


def _chain(size: int, width: int, preset: int) -> list[dict[str, int]]:
    """Return the filters of a raw stream; ``width`` 0 stands for what xz does unasked. Readers need the dictionary alone."""
    align = {0: 2, 2: 1, 4: 2, 8: 2}.get(width, 0)
    dictionary = min(_DICTIONARY, max(4096, 1 << max(size - 1, 1).bit_length()))
    literal = {"lc": 3, "lp": 0} if width < 2 else {"lc": 0, "lp": align}
    return [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary, "pb": align, **literal}]


def exactly(found: bytes, size: int) -> bytes:
    """Return ``found`` where it has ``size`` bytes."""
    if len(found) != size:
        raise DataError(f"{len(found):,} bytes came out where {size:,} were announced")
    return found


def pack_mask(mask: np.ndarray | None) -> bytes:
    """Return where ``mask`` (n, ..) is true: as bits, as bits that differ from the row before, or by the gaps between."""
    if mask is None or not mask.any():
        return b""
    places = np.flatnonzero(mask)
    ways = []
    if len(places) < mask.size // 8:
        encoder = Encoder()
        encoder.put_integers(np.diff(places, prepend=-1) - 1)
        ways.append(bytes([_GAPS]) + len(places).to_bytes(8, "little") + encoder.to_bytes())
    if len(places) > 64:
        changes = mask.copy()
        changes[1:] ^= mask[:-1]
        ways += [
            bytes([tag]) + squeeze(np.packbits(bits).tobytes()) for tag, bits in ((_BITS, mask), (_CHANGES, changes))
        ]
    return min(ways or [bytes([_BITS]) + squeeze(np.packbits(mask).tobytes())], key=len)


def unpack_mask(data: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the mask of ``shape`` that was packed."""
    if not data:
        return None
    total = int(np.prod(shape))
    if data[0] == _GAPS:
        count = int.from_bytes(data[1:9], "little")
        if count > total:
            raise DataError(f"{count:,} of {total:,} values are said to be kept apart")
        places = np.cumsum(Decoder(data[9:]).get_integers(count) + 1) - 1
        if count and (places[0] < 0 or (np.diff(places) < 1).any() or places[-1] >= total):
            raise DataError("values that are kept apart lie outside of the chunk")
        mask = np.zeros(total, bool)
        mask[places] = True
        return mask.reshape(shape)
    if data[0] not in (_BITS, _CHANGES):
        raise DataError("a mask is written in no known way")
    bits = np.frombuffer(release(data[1:], (total + 7) // 8), np.uint8)
    mask = np.unpackbits(bits, count=total).astype(bool).reshape(shape)
    return np.logical_xor.accumulate(mask, axis=0) if data[0] == _CHANGES else mask


def pack_texts(texts: tuple[str, ...]) -> bytes:
    """Return texts as bytes: how many, how long each is, and all of them end to end."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, encoded), "<u4", len(encoded))
    return len(encoded).to_bytes(8, "little") + lengths.tobytes() + b"".join(encoded)


def unpack_texts(data: bytes) -> tuple[tuple[str, ...], bytes]:
    """Return the texts that ``data`` begins with, and what follows them."""
    count = int.from_bytes(data[:8], "little")
    if len(data) < 8 or 4 * count > len(data):
        raise DataError("a list of texts is longer than its bytes")
    ends = 8 + 4 * count + np.cumsum(np.frombuffer(data, "<u4", count, 8), dtype=np.int64)
    if count and ends[-1] > len(data):
        raise DataError("a list of texts is longer than its bytes")
    starts = [8 + 4 * count, *ends.tolist()]
    try:
        found = tuple(data[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(starts))
    except UnicodeDecodeError as error:
        raise DataError(f"a text is not UTF-8 ({error})") from error
    return found, data[starts[-1] :]
