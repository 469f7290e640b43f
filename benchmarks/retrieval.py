"""Search by code: queries a second and recall beside scikit-learn's brute force, and the memory of a million codes.

    OMP_NUM_THREADS=1 python benchmarks/retrieval.py [--rows 100000] [--queries 2000] [--latent 16] [--million]

Codes of Fashion-MNIST: the 60,000 training images and as many of them, moved by one pixel, as are wanted; the queries are
test images, which neither the autoencoder nor the index has seen. Seconds are CPU seconds of one thread, all searches in the
same process in turn. ``--million`` builds, asks and measures indexes of 1,000,000 codes of 32 numbers (a mixture of normal
distributions), each in a process of its own. FAISS is needed for more than the exact rows: ``pip install
'isthmus[retrieval]'``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import datasets
import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

import isthmus as ist
from isthmus.apps.retrieval import approximate

K = 10
BACKENDS = (
    ("exact", {"backend": "exact"}),
    ("exact, int8", {"backend": "exact", "store": "int8"}),
    ("flat", {"backend": "flat"}),
    ("ivf", {"backend": "ivf"}),
    ("ivf, int8 reranked", {"backend": "ivf", "store": "int8", "rerank": True}),
    ("hnsw", {"backend": "hnsw"}),
)


def codes_of_fashion(rows: int, queries: int, latent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of training images, as they are and moved, and of test images."""
    images = datasets.fashion_images("train")
    ae = ist.Autoencoder(latent_dim=latent, effort="quick", random_state=0, verbose=False)
    ae.fit(images[:10_000].reshape(-1, 784).astype(np.float32))
    moved = [images, *(np.roll(images, step, axis) for axis in (1, 2) for step in (1, -1))]
    several = np.concatenate(moved[: -(-rows // len(images))])[:rows]
    encode = [
        ae.transform(some.reshape(-1, 784).astype(np.float32)) for some in (several, datasets.fashion_images("t10k"))
    ]
    return encode[0], encode[1][:queries]


def recall(found: np.ndarray, right: np.ndarray) -> float:
    """Return the share of the right neighbours that were found."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, right, strict=True)]))


def timed(work) -> tuple[object, float]:
    """Return what some work returns, and its CPU seconds."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def compare(codes: np.ndarray, queries: np.ndarray) -> None:
    """Print a line for each backend."""
    print(f"{len(codes):,} codes of {codes.shape[1]} numbers, {len(queries):,} queries, k = {K}, one thread")
    print("| search | build, CPU s | queries / s | queries / s, one by one | recall@10 | it says | MiB of codes |")
    print("|---|---|---|---|---|---|---|")
    brute, build = timed(lambda: NearestNeighbors(n_neighbors=K, algorithm="brute").fit(codes))
    right, spent = timed(lambda: brute.kneighbors(queries, return_distance=False))
    single = timed(lambda: [brute.kneighbors(queries[i : i + 1]) for i in range(50)])[1] / 50
    held = codes.nbytes / 2**20
    print(f"| scikit-learn, brute | {build:.2f} | {len(queries) / spent:,.0f} | {1 / single:,.0f} | 1 | | {held:.1f} |")
    for name, settings in BACKENDS:
        if settings["backend"] != "exact" and not approximate.is_installed():
            continue
        index, build = timed(lambda settings=settings: ist.Index(codes=codes, **settings))
        found, spent = timed(lambda index=index: index.query(codes=queries, k=K))
        single = timed(lambda index=index: [index.query(codes=queries[i : i + 1], k=K) for i in range(50)])[1] / 50
        print(
            f"| {name} | {build:.2f} | {len(queries) / spent:,.0f} | {1 / single:,.0f} | "
            f"{recall(found.positions, right):.4f} | {index.recall_:.4f} | {index._store.nbytes / 2**20:.1f} |",
            flush=True,
        )


def million(name: str) -> None:
    """Build and ask an index of a million codes; print what it took as JSON."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, 32)).astype(np.float32) * 2
    codes = np.empty((1_001_000, 32), np.float32)
    for start in range(0, len(codes), 100_000):
        some = codes[start : start + 100_000]
        some[:] = centres[rng.integers(1000, size=len(some))] + rng.standard_normal(some.shape, dtype=np.float32)
    index, build = timed(lambda: ist.Index(codes=codes[:1_000_000], **dict(BACKENDS)[name]))
    _, spent = timed(lambda: index.query(codes=codes[1_000_000:], k=K))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"build": build, "rate": 1000 / spent, "recall": index.recall_, "peak": peak}))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--only", help="one backend of the million, in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        million(options.only)
        return
    if not options.million:
        compare(*codes_of_fashion(options.rows, options.queries, options.latent))
        return
    print("1,000,000 codes of 32 numbers, 1,000 queries, k = 10, one thread, a process each")
    print("| search | build, CPU s | queries / s | it says recall@10 | peak RSS, GiB |")
    print("|---|---|---|---|---|")
    for name in ("exact", "ivf", "ivf, int8 reranked"):
        if name != "exact" and not approximate.is_installed():
            continue
        done = subprocess.run([sys.executable, __file__, "--only", name], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        print(
            f"| {name} | {found['build']:.1f} | {found['rate']:,.0f} | {found['recall']:.4f} | {found['peak']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
