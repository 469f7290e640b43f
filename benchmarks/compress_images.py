"""Fashion-MNIST in as few bytes as it takes: lossless, and at a stated error, beside the codecs of pictures.

    python benchmarks/compress_images.py --only baselines context latent code --cache /tmp/pictures

Learned engines code all 70,000 images in chunks of 10,000 rows, model included, and every chunk is decoded by a model read
back from its bytes and compared. Classical codecs get sheets of 35 x 50 images (their best size), four of them from all over
the set, 7,000 images; they have no model to pay for, so bytes per image compare. Results are kept in the cache and printed.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import fashion_images

CHUNK = 10_000
SHEET = (35, 50)


def main() -> None:
    """Measure what is asked for and not yet in the cache, and print all that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["baselines", "context", "latent"], choices=sorted(PARTS))
    parser.add_argument("--cache", type=Path, default=Path("/tmp/compress_images"))
    options = parser.parse_args()
    options.cache.mkdir(exist_ok=True)
    images = np.concatenate([fashion_images("train"), fashion_images("t10k")])
    for name in options.only:
        kept = options.cache / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(PARTS[name](images, options.cache), indent=1))
        for row in json.loads(kept.read_text()):
            print("  ".join(f"{key} {value}" for key, value in row.items()))


def baselines(images: np.ndarray, cache: Path) -> list[dict[str, Any]]:
    """Return bytes an image and PSNR of the classical codecs on the same 7,000 images."""
    import imagecodecs as codecs

    rows, columns = SHEET
    size = rows * columns
    parts = [images[start : start + size] for start in range(0, len(images), len(images) // 4)]
    sheets = [part.reshape(rows, columns, 28, 28).swapaxes(1, 2).reshape(rows * 28, columns * 28) for part in parts]
    packed = [np.ascontiguousarray(part) for part in parts]

    def measure(
        name: str, pack: Callable[[np.ndarray], bytes], unpack: Callable[[bytes], Any] | None
    ) -> dict[str, Any]:
        start = time.process_time()
        coded = [pack(sheet) for sheet in (sheets if unpack else packed)]
        row: dict[str, Any] = {"codec": name, "bytes": round(sum(map(len, coded)) / size / len(sheets), 2)}
        row["cpu_s"] = round(time.process_time() - start, 1)
        if unpack:
            again = [np.asarray(unpack(data)) for data in coded]
            again = [sheet[..., 0] if sheet.ndim == 3 else sheet for sheet in again]
            error = float(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(again, sheets, strict=True)]))
            row["psnr"] = round(10 * np.log10(255**2 / error), 2) if error else "lossless"
        return row

    webp: Any = codecs.webp_decode
    results = [
        measure("jpeg xl", lambda s: codecs.jpegxl_encode(s, lossless=True, effort=9), codecs.jpegxl_decode),
        measure("webp", lambda s: codecs.webp_encode(np.stack([s] * 3, -1), lossless=True, method=6), webp),
        measure("png", lambda s: codecs.png_encode(s, level=9), codecs.png_decode),
        measure("xz", lambda s: lzma.compress(s.tobytes(), preset=9 | lzma.PRESET_EXTREME), None),
    ]
    for level in (5, 10, 20, 30, 40):
        results.append(
            measure(
                f"webp q{level}",
                lambda s, q=level: codecs.webp_encode(np.stack([s] * 3, -1), level=q, lossless=False, method=6),
                webp,
            )
        )
    for distance in (6, 8, 10):
        results.append(
            measure(
                f"jpeg xl d{distance}",
                lambda s, d=distance: codecs.jpegxl_encode(s, lossless=False, distance=d, effort=7),
                codecs.jpegxl_decode,
            )
        )
    for level in (30, 40, 50):
        results.append(measure(f"avif q{level}", lambda s, q=level: avif(s, q), avif_back))
    return results


def avif(sheet: np.ndarray, quality: int) -> bytes:
    """Return a sheet as AVIF."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(sheet).convert("RGB").save(stream, "AVIF", quality=quality, subsampling="4:2:0")
    return stream.getvalue()


def avif_back(data: bytes) -> np.ndarray:
    """Return the sheet."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def context(images: np.ndarray, cache: Path) -> list[dict[str, Any]]:
    """Return what lossless coding takes."""
    from isthmus.apps.compression.engines.context import Context

    return [learned(Context, 1, images, cache)]


def latent(images: np.ndarray, cache: Path) -> list[dict[str, Any]]:
    """Return what codes alone take."""
    from isthmus.apps.compression.engines.latent import Latent

    return [learned(Latent, 0, images, cache)]


def learned(kind: Any, stride: int, images: np.ndarray, cache: Path) -> dict[str, Any]:
    """Learn (unless the cache has the model), code everything, decode it with the model read back, and compare."""
    kept, row = cache / f"{kind.name}.bin", {"engine": kind.name}
    if not kept.exists():
        start = time.process_time()
        kept.write_bytes(kind.learn(images.astype(np.int64), stride, 0, "default").to_bytes())
        row["learn_cpu_s"] = round(time.process_time() - start)
    data = kept.read_bytes()
    writer, reader = kind.from_bytes(data), kind.from_bytes(data)
    payload, error, encode, decode, ideal = 0, 0.0, 0.0, 0.0, writer.cost(images[::100].astype(np.int64))
    for start in range(0, len(images), CHUNK):
        X = images[start : start + CHUNK].astype(np.int64)
        before = time.process_time()
        coded, again = writer.encode(X, stride)
        between = time.process_time()
        decoded = reader.decode(coded, len(X), stride)
        decode += time.process_time() - between
        encode += between - before
        if not np.array_equal(decoded, again) or (stride and not np.array_equal(decoded, X)):
            raise SystemExit(f"rows from {start} on came back otherwise")
        payload, error = payload + len(coded), error + float(((decoded - X) ** 2).sum())
    n = len(images)
    row |= {
        "bytes": round((payload + len(data)) / n, 2),
        "payload": round(payload / n, 2),
        "model": len(data),
        "ideal of every 100th": round(ideal / 8 / len(images[::100]), 2),
        "psnr": round(10 * np.log10(255**2 * images.size / error), 2) if error else "lossless",
        "encode MB/s": round(images.size / 1e6 / encode, 2),
        "decode MB/s": round(images.size / 1e6 / decode, 2),
    }
    return row


def code(images: np.ndarray, cache: Path) -> list[dict[str, Any]]:
    """Return what a code of the whole picture costs and saves: context alone, and with the code of a linear autoencoder.

    10,000 images teach, 2,000 others judge, the same steps and the same values for all.
    """
    import torch

    from isthmus.apps.compression.engines import context_training as training
    from isthmus.apps.compression.engines.descent import descend
    from isthmus.apps.compression.engines.neighbours import neighbourhood

    near, count, depth = neighbourhood((28, 28)), 255, 8
    flat = images[:12_000].reshape(-1, 784).astype(np.float64)
    mean = flat[:10_000].mean(0)
    directions = np.linalg.svd(flat[:10_000:5] - mean, full_matrices=False)[2]
    results = []
    for numbers, levels in ((0, 1), (2, 8), (8, 8), (16, 16)):
        scores = (flat - mean) @ directions[:numbers].T
        step = 4 * scores[:10_000].std(0) / levels
        codes = np.round(scores / step).astype(int)
        bits = sum(entropy(codes[:, j]) for j in range(numbers))
        inputs = torch.from_numpy((codes / levels / 2).astype(np.float32))
        torch.manual_seed(0)
        net = training.Net((784, near.around.shape[1] + numbers), 32, depth)

        def total(pixels: Any, rows: Any, rounded: bool, net: Any = net) -> Any:
            batch = pixels.batch()
            outputs = net(torch.cat([batch.known, rows[batch.row]], 1), batch.place, rounded)
            cost = training.nats(outputs, batch.guess, batch.value, count, depth)
            return (batch.weight * cost).sum() / batch.weight.sum()

        teach = training.Pixels(flat[:10_000].T.astype(np.uint8), near, depth, 0)
        judge = training.Pixels(flat[10_000:].T.astype(np.uint8), near, depth, 1)
        descend(net.parameters(), lambda rounded, f=total, p=teach, x=inputs: f(p, x, rounded), 1200, 2.4e-2)
        with torch.no_grad():
            nats = np.mean([total(judge, inputs[10_000:], True).item() for _ in range(60)])
        values = nats * 784 / np.log(2) / 8
        row = {"numbers": numbers, "code": bits / 8, "values": values, "total": values + bits / 8}
        results.append({key: round(float(value), 2) for key, value in row.items()})
    return results


def entropy(symbols: np.ndarray) -> float:
    """Return bits a symbol."""
    share = np.unique(symbols, return_counts=True)[1] / len(symbols)
    return float(-(share * np.log2(share)).sum())


PARTS: dict[str, Callable[[np.ndarray, Path], list[dict[str, Any]]]] = {
    "baselines": baselines,
    "context": context,
    "latent": latent,
    "code": code,
}

if __name__ == "__main__":
    main()
