"""Does the bound hold, is every decoder alike, is damage found? Random data of every kind, judged value by value.

    python benchmarks/compress_trust.py --only bound learned alike wounds --values 1e8

bound: arrays of every dtype, magnitude and shape are compressed under a random bound, decoded, and every value is compared by
a judge that shares no code with the library: the difference as a float of twice the width (of float64: of 64 bits), and the
bits of what is no number. One array in a hundred is decoded again chunk by chunk from the end, which must give the same bits.
learned: the same for every learned engine that wants the data, which codes them whether or not it pays.
alike: files of learned engines in chunks of 1, 7 and all rows, decoded in other processes with 1 and 4 threads: one digest.
wounds: files with a learned model, with bits flipped, cut off, or two chunks exchanged: each must be found and named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.engines.engine import LEARNED, UnsuitedError
from isthmus.errors import DataError

DTYPES = ("f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOOR = ("residuals", "classical")
BOUNDS = ("lossless", "abs", "rel", "pointwise_rel")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=sorted(PARTS), choices=sorted(PARTS))
    parser.add_argument("--values", type=float, default=1e8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.only:
        begun = time.process_time()
        found = PARTS[name](np.random.default_rng(options.seed), options.values)
        print(f"{name}: {found}; {time.process_time() - begun:.0f} CPU seconds", flush=True)


def bound(rng: np.random.Generator, values: float) -> str:
    """Count what breaks its bound among ``values`` values by the classical engines."""
    counted = broken = arrays = kept = 0
    while counted < values:
        x = array(rng, 1_000_000 if rng.random() < 0.5 else 500)
        settings, kind, most = bounds(rng, x)
        compressor = Compressor(
            engines="classical", effort="quick", chunk_values=1 << int(rng.integers(12, 21)), **settings
        ).fit(x)
        # the search of the classical engine takes its time on large arrays; the mechanism is the same
        engine = FLOOR[0 if x.size > 100_000 else arrays % 2]
        compressor.engines_ = {engine: compressor.engines_[engine]}
        data = compressor.compress(x)
        assert isinstance(data, bytes)
        kept += compressor.account_.escapes
        with Archive(data) as archive:
            again = archive.read()
            broken += violations(x, again, kind, most)
            if arrays % 100 == 0:
                pieces = [archive[place.first : place.first + place.rows] for place in reversed(archive.places)]
                assert b"".join(piece.tobytes() for piece in reversed(pieces)) == again.tobytes()
        counted, arrays = counted + x.size, arrays + 1
    return f"{counted:,} values of {arrays:,} arrays, {kept:,} bytes kept exactly: {broken} beyond their bound"


def learned(rng: np.random.Generator, values: float) -> str:
    """Count what breaks its bound by the learned engines."""
    coded: Counter[str] = Counter()
    broken = 0
    for round_ in range(4):
        for shape in ((2000, 8, 8), (600, 6, 6, 3), (3000, 40), (12_000, 8), (40, 48, 48)):
            x = walk(rng, shape, np.dtype(("u1", "f4", "i2", "f8")[round_]))
            settings, kind, most = bounds(rng, x)
            for name in LEARNED:
                if name == "latent":
                    continue  # promises nothing
                compressor = Compressor(engines=[name], effort="quick", random_state=round_, **settings).fit(x)
                if name not in compressor.engines_:
                    continue
                form, engine = compressor.form_, compressor.engines_[name]
                part = form.part(x, 0, len(x))
                X, extras = form.whole(part)
                try:
                    payload, again = engine.encode(X, form.stride)
                except UnsuitedError:
                    continue
                reader = type(engine).from_bytes(engine.to_bytes())
                assert np.array_equal(reader.decode(payload, len(x), form.stride), again)
                values_ = form.values(again, form.settle(part, X, again, extras))[0]
                broken += violations(x, values_, kind, most)
                coded[name] += x.size
    return f"{', '.join(f'{name} {size:,}' for name, size in coded.items())} values: {broken} beyond their bound"


def alike(rng: np.random.Generator, values: float) -> str:
    """Decode files of learned engines in other processes, and compare what comes out."""
    digests = []
    with tempfile.TemporaryDirectory() as folder:
        x = walk(rng, (300, 16, 16), np.dtype("u1"))
        for settings in ({}, {"abs": 2}, {"latent": True}):
            compressor = Compressor(engines="auto", effort="quick", random_state=0, **settings).fit(x)
            compressor.engines_ = {n: e for n, e in compressor.engines_.items() if n in ("context", "latent")}
            found = set()
            for rows in (1, 7, 300):
                compressor.chunk_values = rows * 256
                path = Path(folder) / f"{rows}.isth"
                compressor.compress(x[: 40 if rows == 1 else 300], path)
                for threads in ("1", "4"):
                    found.add(decoded_elsewhere(path, threads))
            assert len(found) == 1, settings
            digests += found
    return (
        f"{3 * len(digests)} files of {len(digests)} settings, 2 numbers of threads: the same first 40 rows each time"
    )


def decoded_elsewhere(path: Path, threads: str) -> str:
    """Return the digest of the first 40 rows that another process decodes, which has the file alone."""
    script = (
        "import sys, hashlib; from isthmus.apps.compression.archive import Archive\n"
        "print(hashlib.sha256(Archive(sys.argv[1]).read()[:40].tobytes()).hexdigest(), 'torch' in sys.modules)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, "-c", script, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()
    assert found[1] == "False"
    return found[0]


def wounds(rng: np.random.Generator, values: float, number: int = 500) -> str:
    """Hurt a file that carries a learned model ``number`` times, and see that it is found."""
    x = walk(rng, (200, 16, 16), np.dtype("u1"))
    compressor = Compressor(engines=["context"], effort="quick", random_state=0, chunk_values=10_000).fit(x)
    compressor.engines_ = {"context": compressor.engines_["context"]}
    data = compressor.compress(x)
    assert isinstance(data, bytes)
    with Archive(data) as archive:
        ends = [*(place.offset for place in archive.places), len(data)]
    found = named = 0
    for wound in range(number):
        hurt = bytearray(data)
        if wound % 4 < 2:
            hurt[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif wound % 4 == 2:
            hurt = hurt[: rng.integers(len(data))]
        else:
            a, b = sorted(rng.choice(len(ends) - 1, 2, replace=False).tolist())
            first, second = data[ends[a] : ends[a + 1]], data[ends[b] : ends[b + 1]]
            hurt[ends[a] : ends[b + 1]] = second + data[ends[a + 1] : ends[b]] + first
        try:
            with Archive(bytes(hurt)) as archive:
                problems = archive.verify()
        except DataError as error:
            problems = [str(error)]
        found += bool(problems)
        named += any(word in " ".join(problems) for word in ("chunk ", "model ", "header", "index", "first", ".isth"))
    return f"{number} wounds of a file with a model: {found} found, {named} say where"


def array(rng: np.random.Generator, most: int) -> np.ndarray:
    """Draw an array: smooth, rough, wild bits, sparse, constant or empty; with gaps, infinities, subnormals, huge values."""
    shape = tuple(int(side) for side in rng.integers(1, 40, rng.integers(0, 3)))
    shape = (int(rng.integers(0, max(2, most // max(1, int(np.prod(shape)))))), *shape)
    dtype = np.dtype(DTYPES[rng.integers(len(DTYPES))])
    kind = rng.integers(6)
    if kind == 0:  # any bits at all
        return np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape).copy()
    x = np.cumsum(rng.normal(size=shape), axis=-1) if kind < 3 else rng.normal(size=shape)
    x = np.zeros(shape) + rng.normal() if kind == 3 else x
    x = x * 10.0 ** rng.uniform(-12, 12) if dtype.kind == "f" else x * 2.0 ** rng.integers(0, 8 * dtype.itemsize - 3)
    if kind == 4:
        x *= rng.random(shape) < 0.1
    with np.errstate(all="ignore"):
        info = np.iinfo(dtype) if dtype.kind in "iu" else None
        x = x.astype(dtype) if info is None else np.clip(x, float(info.min) / 2, float(info.max) / 2).astype(dtype)
    return gapped(rng, x) if dtype.kind == "f" and rng.random() < 0.5 else x


def walk(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Draw smooth data that an engine may learn of; floats with gaps."""
    x = np.cumsum(np.cumsum(rng.integers(-1, 2, shape), axis=-1), axis=1 if len(shape) > 2 else 0)
    x = np.clip(np.abs(x), 0, 120)
    return gapped(rng, (x / 7).astype(dtype)) if dtype.kind == "f" else x.astype(dtype)


def gapped(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Put what is no number, and the smallest and largest there are."""
    place = rng.random(x.shape)
    special = (np.nan, np.inf, -np.inf, -0.0, np.finfo(x.dtype).smallest_subnormal, np.finfo(x.dtype).max)
    for each, value in enumerate(special):
        x[(place > each / 500) & (place < each / 500 + 1 / 2000)] = value
    return x


def bounds(rng: np.random.Generator, x: np.ndarray) -> tuple[dict[str, Any], str, float]:
    """Draw a bound: as the compressor is told of it, and what it promises of every value."""
    kind, eps = BOUNDS[rng.integers(4)], 10.0 ** rng.uniform(-8, -0.3)
    with np.errstate(all="ignore"):
        finite = x[np.isfinite(x)] if x.dtype.kind == "f" else x
        span = float(finite.max()) - float(finite.min()) if finite.size else 0.0
        given = eps * float(np.abs(finite.astype("f8")).mean()) if kind == "abs" and finite.size else eps
    given = given if 0 < given < 1e300 else eps
    most = given * span if kind == "rel" else given
    return ({} if kind == "lossless" else {kind: given}), kind if most > 0 else "lossless", most


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
        most = np.longdouble(eps) * (np.abs(a) if kind == "pointwise_rel" else 1)
        slack = np.longdouble(2) ** -60 if x.dtype.itemsize == 8 else 0  # of 64 bits the judge itself rounds
        near = np.abs(a - b) <= most * (1 + slack)
    return int((~same & ~(near & np.isfinite(x) & np.isfinite(again))).sum())


PARTS = {"bound": bound, "learned": learned, "alike": alike, "wounds": wounds}

if __name__ == "__main__":
    main()
