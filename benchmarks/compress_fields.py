"""Fields under a bound: .isth beside SZ3 (every algorithm), SPERR, zfp, and quantise + delta + xz.

    python benchmarks/compress_fields.py [NAME ..]

Three fields, float32: `etth1` (17,420 hours x 7 series), `advection` (500 x 64 x 64, made here from seed 0: see `advection`),
and `eraint` (z, u and v of ERA-Interim, each (2 months, 3 levels, 241, 480), each with a bound relative to its own range; the
sizes are added). Bounds are relative to the range of a field. Ours is the whole file. The best peer is the smallest one of each
array, whether or not it keeps the bound; the largest error of each is measured.
"""

from __future__ import annotations

import lzma
import sys
import time
from collections.abc import Iterator

import numpy as np
from datasets import DATA

from isthmus.apps.compression.compressor import Compressor


def advection(frames: int = 500, size: int = 64, seed: int = 0) -> np.ndarray:
    """Return a stirred tracer, float32 (frames, size, size), periodic in space.

    dc/dt + u . grad c = kappa lap c + forcing, one time step a frame: cubic semi-Lagrangian transport (`map_coordinates` of
    scipy, wrapped) by u = curl psi, at most about 1.5 cells a frame; psi and the forcing are sums of Fourier modes with wave
    numbers up to 4 and 6, amplitude |k|^-1.5, whose complex coefficients are Ornstein-Uhlenbeck processes (memory 40 and 10
    frames); diffusion exact in Fourier space, kappa = 0.02 cells^2 a frame. The first 100 frames are thrown away.
    """
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(seed)
    wave = np.fft.fftfreq(size, 1 / size)
    ky, kx = np.meshgrid(wave, wave, indexing="ij")
    k = np.hypot(ky, kx)
    smooth = np.exp(-0.02 * (2 * np.pi * k / size) ** 2)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).astype(float)

    def noise(top: float) -> np.ndarray:
        white = np.fft.fft2(rng.standard_normal((size, size)))
        return np.where((k > 0) & (k <= top), white * np.maximum(k, 1) ** -1.5, 0)

    psi, forcing, c, out = noise(4), noise(6), np.zeros((size, size)), []
    for frame in range(frames + 100):
        psi = np.exp(-1 / 40) * psi + np.sqrt(1 - np.exp(-2 / 40)) * noise(4)
        forcing = np.exp(-1 / 10) * forcing + np.sqrt(1 - np.exp(-2 / 10)) * noise(6)
        velocity = np.stack([np.fft.ifft2(1j * kx * psi).real, -np.fft.ifft2(1j * ky * psi).real])
        departure = grid - 0.5 * velocity / velocity.std()
        c = map_coordinates(c, departure, order=3, mode="grid-wrap") + 0.05 * np.fft.ifft2(forcing).real * size
        c = 0.995 * np.fft.ifft2(np.fft.fft2(c) * smooth).real
        if frame >= 100:
            out.append(c)
    return np.asarray(out, np.float32)


def load(name: str) -> list[np.ndarray]:
    """Return the float32 arrays of a field; each has a range, a bound and a model of its own."""
    if name == "etth1":
        return [np.genfromtxt(DATA / "ett/ETTh1.csv", delimiter=",", skip_header=1)[:, 1:].astype(np.float32)]
    if name == "advection":
        return [advection()]
    from scipy.io import netcdf_file

    with netcdf_file(DATA / "xarray_fields/eraint_uvz.nc", mmap=False) as file:
        packed = [file.variables[v] for v in "zuv"]
        return [(v.data * v.scale_factor + v.add_offset).astype(np.float32) for v in packed]


def peers(x: np.ndarray, bound: float) -> Iterator[tuple[str, int, float]]:
    """Yield name, bytes and largest error of every peer at that absolute bound."""
    import imagecodecs  # pyright: ignore[reportMissingImports]
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode  # pyright: ignore[reportMissingImports]

    for algorithm in ("INTERP_LORENZO", "INTERP", "LORENZO_REG", "NOPRED"):
        config = szConfig(x.shape)
        config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, bound
        config.cmprAlgo = getattr(szAlgorithm, algorithm)
        data, _ = sz.compress(x, config)
        yield f"SZ3 {algorithm}", len(data), worst(x, sz.decompress(data, x.dtype, x.shape)[0])
    solid = np.ascontiguousarray(x.reshape(-1, *x.shape[-2:]) if x.ndim > 3 else x)
    data = imagecodecs.sperr_encode(solid, bound, mode="pwe")
    yield "SPERR", len(data), worst(solid, imagecodecs.sperr_decode(data))
    data = imagecodecs.zfp_encode(solid, bound, mode="a")
    yield "zfp", len(data), worst(solid, imagecodecs.zfp_decode(data))
    k = np.round(x.astype(np.float64) / (2 * bound)).astype(np.int64)
    error = worst(x, (k * 2 * bound).astype(np.float32))
    for axis in range(x.ndim):
        delta = np.diff(k, axis=axis, prepend=0)
        packed = delta.astype(np.int8 if np.abs(delta).max() < 128 else np.int16).tobytes()
        yield f"delta {axis} + xz", len(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)), error


def worst(x: np.ndarray, again: np.ndarray) -> float:
    """Return the largest error."""
    return float(np.abs(x.astype(np.float64) - again.astype(np.float64).reshape(x.shape)).max())


def main(names: list[str]) -> None:
    """Print a line an array and bound."""
    print(
        "| field | bound | raw | best peer | its error / bound | its bytes | .isth | model | times smaller | decode MB/s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        for rel in (1e-2, 1e-3):
            raw = theirs = ours = 0
            for x in load(name):
                bound = rel * float(np.ptp(x))
                compressor = Compressor(rel=rel, engines=["lattice"], random_state=0)
                data = compressor.compress(x)
                assert isinstance(data, bytes)
                begun = time.process_time()
                error = worst(x, compressor.decompress(data))
                seconds = time.process_time() - begun
                assert error <= bound, "the bound is broken"
                found = list(peers(x, bound))
                best = min(found, key=lambda peer: peer[1])
                print(
                    f"| {name} | {rel:g} | {x.nbytes} | {best[0]} | {best[2] / bound:.4f} | {best[1]} | {len(data)} | "
                    f"{compressor.account_.model} | {best[1] / len(data):.3f} | {x.nbytes / 1e6 / seconds:.1f} |",
                    flush=True,
                )
                print("  " + ", ".join(f"{peer} {size} ({e / bound:.4f})" for peer, size, e in found), file=sys.stderr)
                raw, theirs, ours = raw + x.nbytes, theirs + best[1], ours + len(data)
            print(f"| **{name}** | {rel:g} | {raw} | | | {theirs} | {ours} | | **{theirs / ours:.3f}** | |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["etth1", "eraint", "advection"])
