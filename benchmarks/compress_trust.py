"""Does the bound hold? Random data of every dtype, magnitude and shape, written, read and judged value by value.

    python benchmarks/compress_trust.py --values 1e8

Every array is compressed under a random bound, decoded, and every value is compared by a judge that shares no code with
the library: the difference as a float of twice the width (of float64: of 64 bits), and the bits of what is no number. One
array in a hundred is decoded again chunk by chunk from the end, which must give the same bits.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.compressor import Compressor

DTYPES = ("f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
ENGINES = ("residuals", "classical")


def array(rng: np.random.Generator, most: int) -> np.ndarray:
    """Draw an array: smooth, rough, wild bits, sparse, constant or empty; with gaps, infinities, subnormals, huge values."""
    shape = tuple(int(side) for side in rng.integers(1, 40, rng.integers(0, 3)))
    shape = (int(rng.integers(0, max(2, most // max(1, int(np.prod(shape)))))), *shape)
    dtype = np.dtype(DTYPES[rng.integers(len(DTYPES))])
    kind = rng.integers(6)
    if kind == 0:
        return (
            np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape).copy()
        )  # any bits at all
    x = np.cumsum(rng.normal(size=shape), axis=-1) if kind < 3 else rng.normal(size=shape)
    x = np.zeros(shape) + rng.normal() if kind == 3 else x
    x = x * 10.0 ** rng.uniform(-12, 12) if dtype.kind == "f" else x * 2.0 ** rng.integers(0, 8 * dtype.itemsize - 3)
    if kind == 4:
        x *= rng.random(shape) < 0.1
    with np.errstate(all="ignore"):
        info = np.iinfo(dtype) if dtype.kind in "iu" else None
        x = x.astype(dtype) if info is None else np.clip(x, float(info.min) / 2, float(info.max) / 2).astype(dtype)
    if dtype.kind == "f" and rng.random() < 0.5:
        place = rng.random(shape)
        special = (np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max)
        for each, value in enumerate(special):
            x[(place > each / 500) & (place < each / 500 + 1 / 2000)] = value
    return x


def violations(x: np.ndarray, again: np.ndarray, kind: str, eps: float) -> int:
    """Count values that break the promise."""
    assert (x.dtype, x.shape) == (again.dtype, again.shape)
    bits = f"u{x.dtype.itemsize}"
    same = x.view(bits) == again.view(bits)
    if kind == "lossless" or (x.dtype.kind != "f" and kind == "pointwise_rel"):
        return int((~same).sum())
    if x.dtype.kind != "f":
        low, high = np.minimum(x, again), np.maximum(x, again)
        return int((~same & ((high.astype("u8") - low.astype("u8")) > np.uint64(min(eps, 2.0**63)))).sum())
    with np.errstate(all="ignore"):
        a, b = x.astype(np.longdouble), again.astype(np.longdouble)
        gap = np.abs(
            a - b
        )  # 64 bits of mantissa: exact for float16 and float32 of like size, two-sum below for float64
        most = np.longdouble(eps) * (np.abs(a) if kind == "pointwise_rel" else 1)
        near = gap <= most * (1 + (np.longdouble(2) ** -60 if x.dtype.itemsize == 8 else 0))
    return int((~same & ~(near & np.isfinite(x) & np.isfinite(again))).sum())


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=float, default=1e8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=1_000_000, help="values of the largest array")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    counted = broken = arrays = kept = 0
    begun = shown = time.process_time()
    while counted < options.values:
        x = array(rng, options.most if rng.random() < 0.5 else 500)
        kind = ("lossless", "abs", "rel", "pointwise_rel")[rng.integers(4)]
        eps = 10.0 ** rng.uniform(-8, -0.3)
        with np.errstate(all="ignore"):
            finite = x[np.isfinite(x)] if x.dtype.kind == "f" else x
            span = float(finite.max()) - float(finite.min()) if finite.size else 0.0
        given = eps * (float(np.abs(finite.astype("f8")).mean()) if finite.size else 1.0) if kind == "abs" else eps
        given = given if 0 < given < 1e300 else eps
        settings = {} if kind == "lossless" else {kind: given}
        compressor = Compressor(
            engines="classical", effort="quick", chunk_values=1 << int(rng.integers(12, 21)), **settings
        ).fit(x)
        large = x.size > 100_000  # the search of the classical engine takes its time; the mechanism is the same
        engine = ENGINES[0] if large else ENGINES[arrays % 2]
        compressor.engines_ = {engine: compressor.engines_[engine]}
        data = compressor.compress(x)
        kept += compressor.account_.escapes
        with Archive(data) as archive:
            again = archive.read()
            bound = given * span if kind == "rel" else given
            if np.isfinite(bound):
                broken += violations(x, again, kind if bound > 0 else "lossless", bound)
            if arrays % 100 == 0:
                pieces = [archive[place.first : place.first + place.rows] for place in reversed(archive.places)]
                assert b"".join(piece.tobytes() for piece in reversed(pieces)) == again.tobytes()
        counted, arrays = counted + x.size, arrays + 1
        if time.process_time() - shown > 30:
            shown = time.process_time()
            print(f"{counted:,} values, {arrays:,} arrays, {broken} violations, {shown - begun:.0f} CPU s", flush=True)
    print(
        f"{counted:,} values of {arrays:,} arrays: {broken} beyond their bound; {time.process_time() - begun:.0f} CPU seconds"
    )


if __name__ == "__main__":
    main()
