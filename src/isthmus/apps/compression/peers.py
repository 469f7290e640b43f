"""Other codecs on the user's own data, side by side: whichever are installed, each with what it keeps."""

from __future__ import annotations

import importlib.util
import io
import lzma
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zstandard

from isthmus.apps.compression.bounds import Bound
from isthmus.apps.section import Section, Table
from isthmus.apps.words import plain
from isthmus.data.containers import Images, Series, is_table


@dataclass(frozen=True)
class Peer:
    """What another codec makes of the same data."""

    name: str
    bytes: int
    seconds: float
    error: float | None = None
    """Its largest error, measured; None where it is lossless."""


@dataclass(frozen=True)
class Comparison:
    """Our file beside those of others."""

    ours: int
    peers: tuple[Peer, ...]
    """The smallest first."""
    missing: tuple[str, ...]
    """Packages that would add peers."""

    @property
    def best(self) -> Peer | None:
        return self.peers[0] if self.peers else None

    def verdict(self) -> str:
        """Say in a sentence which to take."""
        if self.best is None:
            return "No other codec is installed for such data."
        if self.best.bytes < self.ours:
            times = self.ours / self.best.bytes
            return f"Use {self.best.name}: {self.best.bytes:,} bytes, {times:.2f} times smaller than this file."
        return f"This file is {self.best.bytes / self.ours:.2f} times smaller than the best other, {self.best.name}."

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        peers = [asdict(peer) for peer in self.peers]
        return plain({"ours": self.ours, "peers": peers, "missing": self.missing, "verdict": self.verdict()})

    def section(self) -> Section:
        """Return what the report and the command line show."""
        rows = [("isthmus", self.ours, 1.0, None, None)]
        rows += [(peer.name, peer.bytes, peer.bytes / self.ours, peer.seconds, peer.error) for peer in self.peers]
        header = ("codec", "bytes", "times ours", "seconds", "largest error")
        return Section("Beside other codecs", (self.verdict(),), (Table("", header, rows),), facts=self.to_dict())


def compare(X: Any, bound: Bound, ours: int) -> Comparison:
    """Compress ``X`` with every codec at hand that can keep ``bound``."""
    values = X.pixels if isinstance(X, Images) else X.values if isinstance(X, Series) else X
    table = is_table(values)
    runs = (
        _of_tables(values)
        if table
        else _of_arrays(np.asarray(values), isinstance(X, Images) or np.ndim(values) == 3, bound)
    )
    peers = []
    for name, run in runs:
        begun = time.process_time()
        try:
            size, error = run()
        except Exception:
            continue
        peers.append(Peer(name, size, time.process_time() - begun, error))
    missing = tuple(name for name in ("imagecodecs", "pysz", "pcodec") if not importlib.util.find_spec(name))
    return Comparison(ours, tuple(sorted(peers, key=lambda peer: peer.bytes)), missing)


Run = Callable[[], tuple[int, float | None]]


def _size(data: Any) -> tuple[int, None]:
    return len(data), None


def _of_bytes(name: str, data: bytes) -> Iterator[tuple[str, Run]]:
    yield f"zstd -19{name}", lambda: _size(zstandard.ZstdCompressor(level=19).compress(data))
    yield f"xz -9e{name}", lambda: _size(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _of_tables(table: Any) -> Iterator[tuple[str, Run]]:
    """Yield what compresses tables: their numbers as rows or columns, and Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from isthmus.data import frames

    columns = list(frames.columns_of(table))
    arrow = pa.table([values for _, values in columns], names=[dress.name for dress, _ in columns])

    def parquet(encoding: str | None) -> tuple[int, None]:
        sink = io.BytesIO()
        options: dict[str, Any] = {"compression": "zstd", "compression_level": 19}
        if encoding:
            whole = {f.name: encoding for f in arrow.schema if pa.types.is_integer(f.type)}
            options |= {
                "use_dictionary": [f.name for f in arrow.schema if f.name not in whole],
                "column_encoding": whole,
            }
        pq.write_table(arrow, sink, **options)
        return sink.tell(), None

    yield "Parquet zstd -19", lambda: parquet(None)
    yield "Parquet delta zstd -19", lambda: parquet("DELTA_BINARY_PACKED")
    sink = io.BytesIO()
    from pyarrow import csv

    csv.write_csv(arrow, sink)
    yield from _of_bytes(" of CSV", sink.getvalue())
    if all(
        pa.types.is_primitive(f.type) and not column.null_count
        for f, column in zip(arrow.schema, arrow.columns, strict=True)
    ):
        numbers = [column.to_numpy() for column in arrow.columns]
        yield from _of_bytes(" by columns", b"".join(number.tobytes() for number in numbers))
        yield from _of_bytes(" by rows", np.rec.fromarrays(numbers).tobytes() if numbers else b"")
        if importlib.util.find_spec("pcodec"):
            yield "pcodec by columns", lambda: (sum(len(_pcodec(number)) for number in numbers), None)


def _of_arrays(x: np.ndarray, pictures: bool, bound: Bound) -> Iterator[tuple[str, Run]]:
    x = np.ascontiguousarray(x)
    if bound.is_exact:
        yield from _of_bytes("", x.tobytes())
        planes = x.view(np.uint8).reshape(-1, x.itemsize).T.tobytes()
        if x.itemsize > 1:
            yield from _of_bytes(" of byte planes", planes)
        if importlib.util.find_spec("pcodec"):
            yield "pcodec", lambda: _size(_pcodec(x.reshape(-1)))
        if pictures and x.dtype == np.uint8:
            yield from _of_pictures(x)
    elif x.dtype.kind == "f" and bound.kind in ("abs", "rel"):
        yield from _of_fields(x, bound.resolve(x).value)


def _pcodec(x: np.ndarray) -> bytes:
    from pcodec import ChunkConfig, standalone  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    return standalone.simple_compress(np.ascontiguousarray(x), ChunkConfig())


def _of_pictures(x: np.ndarray) -> Iterator[tuple[str, Run]]:
    """Yield picture codecs: one sheet of all pictures, which is kinder to them than a file for each."""
    if x.ndim == 4 and x.shape[1] in (1, 3):
        x = x[:, 0] if x.shape[1] == 1 else np.moveaxis(x, 1, -1)
    side = int(np.ceil(np.sqrt(len(x))))
    blank = np.zeros((side * side - len(x), *x.shape[1:]), np.uint8)
    tiles = np.concatenate([x, blank]).reshape(side, side, *x.shape[1:])
    sheet = np.ascontiguousarray(np.moveaxis(tiles, 2, 1).reshape(side * x.shape[1], side * x.shape[2], *x.shape[3:]))

    def pillow(kind: str, **options: Any) -> tuple[int, None]:
        from PIL import Image

        sink = io.BytesIO()
        Image.fromarray(sheet).save(sink, kind, **options)
        return sink.tell(), None

    yield "PNG sheet", lambda: pillow("PNG", optimize=True)
    yield "WebP lossless sheet", lambda: pillow("WEBP", lossless=True, quality=100, method=6)
    if importlib.util.find_spec("imagecodecs"):
        import imagecodecs  # pyright: ignore[reportMissingImports]

        yield "JPEG XL lossless sheet", lambda: _size(imagecodecs.jpegxl_encode(sheet, lossless=True, effort=7))
        yield "JPEG-LS sheet", lambda: _size(imagecodecs.jpegls_encode(sheet))
        yield "AVIF lossless sheet", lambda: _size(imagecodecs.avif_encode(sheet, level=100, speed=4))


def _of_fields(x: np.ndarray, eps: float) -> Iterator[tuple[str, Run]]:
    """Yield codecs with an absolute bound; the error each really makes is measured, for not all keep it."""
    x = np.nan_to_num(x)

    def step() -> tuple[int, float]:
        k = np.rint(x.astype(np.float64) / (2 * eps)).astype(np.int64)
        r = np.diff(k, axis=0, prepend=0)
        width = next(w for w in (1, 2, 4, 8) if np.abs(r).max(initial=0) < 1 << (8 * w - 1))
        again = (k * 2 * eps).astype(x.dtype)
        return len(lzma.compress(r.astype(f"<i{width}").tobytes(), preset=9 | lzma.PRESET_EXTREME)), _worst(x, again)

    yield "quantise + delta + xz", step
    if importlib.util.find_spec("pysz"):
        from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode  # pyright: ignore[reportMissingImports]

        def sz3(algorithm: str) -> tuple[int, float]:
            config = szConfig(x.shape)
            config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, eps
            config.cmprAlgo = getattr(szAlgorithm, algorithm)
            data, _ = sz.compress(x, config)
            again, _ = sz.decompress(data, x.dtype, x.shape)
            return len(data), _worst(x, again)

        for algorithm in ("INTERP_LORENZO", "LORENZO_REG", "INTERP", "NOPRED"):
            yield f"SZ3 {algorithm}", lambda algorithm=algorithm: sz3(algorithm)
    if importlib.util.find_spec("imagecodecs"):
        import imagecodecs  # pyright: ignore[reportMissingImports]

        def coded(encode: Any, decode: Any, **options: Any) -> tuple[int, float]:
            data = encode(x, **options)
            return len(data), _worst(x, decode(data).reshape(x.shape))

        yield "SPERR", lambda: coded(imagecodecs.sperr_encode, imagecodecs.sperr_decode, level=eps, mode="pwe")
        yield "zfp", lambda: coded(imagecodecs.zfp_encode, imagecodecs.zfp_decode, level=eps, mode="a")


def _worst(x: np.ndarray, again: np.ndarray) -> float:
    return float(np.abs(x.astype(np.float64) - again.astype(np.float64)).max(initial=0))
