"""Tables without loss: .isth beside xz and pcodec of their columns and rows, and Parquet with Zstandard.

    python benchmarks/compress_tables.py [NAME ..]

Peers are given their best: xz (-9e) and pcodec (level 12) work on the whole numbers that Isthmus finds in a table (prices in
cents, texts as codes, dates as counts), each column in as few bytes as hold it; by columns, by differences down the columns, or
by rows, and are charged what the schema takes, without which nobody has the table back. Parquet gets the table as it is and the
whole numbers, with dictionaries or with differences, whichever is best. Ours is the whole file. Tables are those that `table`
names: `diamonds`, `adult`, three from `thyroid` (their texts "?" read as gaps), and the sets of ADBench, features alone.
"""

from __future__ import annotations

import io
import lzma
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DATA
from pcodec import ChunkConfig, standalone  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

from isthmus.apps.compression.compressor import Compressor

NAMES = ["diamonds", "adult", "thyroid", "thyroid0387", "ann-thyroid"]
NAMES += sorted(file.stem for file in (DATA / "adbench").glob("*.npz"))


def table(name: str) -> pd.DataFrame:
    """Return a table by its name."""
    if name == "diamonds":
        return pd.read_csv(DATA / "seaborn_tables/diamonds.csv")
    if name == "adult":
        return pd.read_csv(DATA / "adult/adult.data", header=None, skipinitialspace=True).rename(columns=str)
    if name == "ann-thyroid":
        found = pd.read_csv(DATA / "thyroid/ann-train.data", header=None)
        return found.dropna(axis=1).rename(columns=str)  # every line ends in a comma
    if name in ("thyroid", "thyroid0387"):
        file, last = ("allhyper", r"\.\|") if name == "thyroid" else ("thyroid0387", r"\[|\]")
        found = pd.read_csv(DATA / f"thyroid/{file}.data", header=None, na_values="?").rename(columns=str)
        parts = found.pop(found.columns[-1]).str.split(
            last, regex=True, expand=True
        )  # a class and the number of a record
        return found.assign(kind=parts[0], record=parts[1].astype(np.int64))
    return pd.DataFrame(np.load(DATA / f"adbench/{name}.npz")["X"]).rename(columns=str)


def peers(frame: pd.DataFrame, X: np.ndarray, schema: int) -> Iterator[tuple[str, int]]:
    """Yield the bytes of every peer; ``X`` (n, m) are the whole numbers of the table, ``schema`` the bytes of its schema."""
    columns = [_narrow(X[:, j]) for j in range(X.shape[1])]
    yield "xz columns", schema + _xz(b"".join(c.tobytes() for c in columns))
    yield "xz differences", schema + _xz(b"".join(np.diff(c, prepend=c[:1]).tobytes() for c in columns))
    yield "xz rows", schema + _xz(np.rec.fromarrays(columns).tobytes())
    yield "pcodec columns", schema + sum(map(_pcodec, columns))
    yield "pcodec rows", schema + _pcodec(_narrow(X).reshape(-1))
    whole = pa.table({str(j): column for j, column in enumerate(columns)})
    for of, arrow, extra in (("table", pa.Table.from_pandas(frame), 0), ("whole numbers", whole, schema)):
        for how in ("dictionaries", "differences"):
            numbers = [f.name for f in arrow.schema if pa.types.is_integer(f.type)] if how == "differences" else []
            options: dict[str, Any] = {"use_dictionary": [f.name for f in arrow.schema if f.name not in numbers]}
            if numbers:
                options["column_encoding"] = dict.fromkeys(numbers, "DELTA_BINARY_PACKED")
            sink = io.BytesIO()
            pq.write_table(arrow, sink, compression="zstd", compression_level=19, **options)
            yield f"Parquet {of}, {how}", extra + sink.tell()


def _narrow(x: np.ndarray) -> np.ndarray:
    x = x - x.min()
    return x.astype(next(kind for kind in ("u1", "u2", "u4", "u8") if x.max() <= np.iinfo(kind).max))


def _xz(data: bytes) -> int:
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _pcodec(x: np.ndarray) -> int:
    x = x.astype(np.uint16) if x.dtype == np.uint8 else x
    return len(standalone.simple_compress(np.ascontiguousarray(x), ChunkConfig(compression_level=12)))


def main(names: list[str]) -> None:
    """Print a line a table."""
    print(
        "| table | rows x columns | in memory | best peer | its bytes | .isth | model | times smaller | fit, code, decode (s) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names or NAMES:
        frame = table(name)
        begun = time.process_time()
        compressor = Compressor(engines=["columns"], random_state=0).fit(frame)
        fitted = time.process_time()
        data = compressor.compress(frame)
        assert isinstance(data, bytes)
        coded = time.process_time()
        pd.testing.assert_frame_equal(compressor.decompress(data), frame)
        decoded = time.process_time()
        account, form = compressor.account_, compressor.form_
        X, _ = form.whole(form.part(frame, 0, len(frame)))
        found = dict(peers(frame, X, account.schema))
        best = min(found, key=lambda peer: found[peer])
        times = f"{fitted - begun:.0f}, {coded - fitted:.0f}, {decoded - coded:.0f}"
        print(
            f"| {name} | {len(frame)} x {frame.shape[1]} | {int(frame.memory_usage(deep=True, index=False).sum())} | {best} | "
            f"{found[best]} | {len(data)} | {account.model} | {found[best] / len(data):.3f} | {times} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
