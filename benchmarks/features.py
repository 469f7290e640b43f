"""What codes are worth as features: probes, neighbours and groups on Fashion-MNIST, two numbers for a heart beat; beside peers.

    OMP_NUM_THREADS=1 python benchmarks/features.py --out results.jsonl                     # what is missing of it
    OMP_NUM_THREADS=1 python benchmarks/features.py --out results.jsonl --rows "ecg: PCA"   # one row; "pythae" needs pythae
    python benchmarks/features.py --out results.jsonl --table

fashion: codes of 16 numbers from the first 20,000 training images, without their labels. "linear" is the test accuracy of a
logistic regression on standardised codes, "5-NN" that of five nearest neighbours, both taught by the labels of those
20,000; "NMI" is that of ten groups of k-means among the 10,000 test codes with their classes. ecg: two numbers for each of
ECG5000's 500 training beats of 140 points, learned from 350 of them at random; on the other 150 "R2" is 1 - squared error /
that of the mean beat, and "5-NN" is taught by the 350. vowels: four numbers for each of JapaneseVowels' series of 7 to 29
points in 12 channels (270 to learn from, 370 to test), written with gaps behind their ends (PCA is given the mean there),
or resampled to 29 points and back; "5-NN" tells the 9 speakers. "of roots" are codes of the square roots of the pixels,
"evened" ones on their principal axes and divided by the roots of their standard deviations.
"shuffled" rows are codes in another order. Seconds are of CPU, of the training alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from rivals import Ledger
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

import isthmus as ist

ROWS, LATENT, BEATS = 20_000, 16, 350


class Codes(NamedTuple):
    """Codes of the rows learned from and of test rows."""

    train: np.ndarray
    test: np.ndarray
    seconds: float


def coded(transformer: Any, train: np.ndarray, test: np.ndarray) -> Codes:
    """Fit a transformer of scikit-learn's kind."""
    started = time.process_time()
    transformer.fit(train)
    seconds = time.process_time() - started
    return Codes(np.asarray(transformer.transform(train)), np.asarray(transformer.transform(test)), seconds)


@cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return the images learned from and the test images of Fashion-MNIST, bytes (n, 28, 28)."""
    return datasets.fashion_images("train")[:ROWS], datasets.fashion_images("t10k")


def worth(codes: Codes, seed: int) -> dict[str, float]:
    """Return probe, neighbours and groups of codes of Fashion-MNIST."""
    y, y_test = datasets.fashion_labels("train")[:ROWS], datasets.fashion_labels("t10k")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3)).fit(codes.train, y)
    near = KNeighborsClassifier(5).fit(codes.train, y)
    groups = KMeans(10, n_init=10, random_state=seed).fit_predict(codes.test)  # pyright: ignore[reportArgumentType]
    return {
        "linear": float(probe.score(codes.test, y_test)),
        "5-NN": float(near.score(codes.test, y_test)),
        "NMI": float(normalized_mutual_info_score(y_test, groups)),
        "seconds": codes.seconds,
    }


def roots(images: np.ndarray) -> np.ndarray:
    """Return the square roots of brightness in [0, 1]: dark shades come apart, as the eye sees them."""
    return np.sqrt(images / np.float32(255))


@cache
def ours(seed: int) -> Codes:
    """Return codes of convolutions, and an error that looks at edges as well."""
    form = {"network": "conv", "reconstruction": "gradient_normal", "max_epochs": 6}
    return coded(ist.Autoencoder(latent_dim=LATENT, random_state=seed, verbose=False, **form), *pictures())


def directions(seed: int) -> Codes:
    """The same codes, seen from their mean as directions."""
    found, turned = ours(seed), make_pipeline(StandardScaler(with_std=False), Normalizer())
    return Codes(turned.fit_transform(found.train), turned.transform(found.test), found.seconds)


@cache
def of_roots(seed: int) -> Codes:
    """The recipe of docs/uses/features.md: the default, behind square roots."""
    ae = ist.Autoencoder(latent_dim=LATENT, max_epochs=20, random_state=seed, verbose=False)
    return coded(make_pipeline(FunctionTransformer(roots), ae), *pictures())


def evened(seed: int) -> Codes:
    """The same codes on their principal axes, halfway to equal variances."""
    found = of_roots(seed)
    axes = PCA().fit(found.train)
    even = axes.explained_variance_**0.25
    return Codes(axes.transform(found.train) / even, axes.transform(found.test) / even, found.seconds)


def pythae(seed: int, is_root: bool) -> Codes:
    """pythae's autoencoder, five epochs of its own loop."""
    from pythae_nets import codes  # in this folder; needs pythae, which is no dependency

    return Codes(*codes(seed, LATENT, *(255 * roots(part) if is_root else part for part in pictures())))


@cache
def principal(seed: int, is_root: bool) -> Codes:
    """Return codes of PCA."""
    parts = (roots(images) if is_root else images / np.float32(255) for images in pictures())
    return coded(PCA(LATENT, random_state=seed), *(part.reshape(len(part), -1) for part in parts))


def shuffled(seed: int) -> Codes:
    """PCA's codes, in another order."""
    rng = np.random.default_rng(seed)
    found = principal(seed, is_root=False)
    return Codes(rng.permutation(found.train), rng.permutation(found.test), 0.0)


def beats(seed: int, make: Callable[[int], Any], shuffle: bool = False) -> dict[str, float]:
    """Return the figures of two numbers a heart beat."""
    table = np.loadtxt(datasets.DATA / "ucr/ECG5000_TRAIN.txt")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    (y, X), (y_test, X_test) = (
        (part[:, 0].astype(int), part[:, 1:]) for part in (table[order[:BEATS]], table[order[BEATS:]])
    )
    made = make(seed)
    codes = coded(made, X, X_test)
    back = np.asarray(made.inverse_transform(rng.permutation(codes.test) if shuffle else codes.test))
    near = KNeighborsClassifier(5).fit(rng.permutation(codes.train) if shuffle else codes.train, y)
    r2 = 1 - np.square(X_test - back).sum() / np.square(X_test - X.mean(0)).sum()
    return {"R2": float(r2), "5-NN": float(near.score(codes.test, y_test)), "seconds": codes.seconds}


def two(seed: int) -> ist.Autoencoder:
    """The default, at two numbers."""
    return ist.Autoencoder(latent_dim=2, random_state=seed, verbose=False)


def vowels() -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]:
    """Return the series (points, 12) of JapaneseVowels and their speakers, to learn from and to test on."""
    found: list[Any] = []
    for part in ("TRAIN", "TEST"):
        lines = (datasets.DATA / f"ucr/JapaneseVowels_{part}.ts").read_text().partition("@data")[2].split()
        *_, y = zip(*(line.rsplit(":", 1) for line in lines), strict=True)
        channels = [[channel.replace("?", "nan").split(",") for channel in line.split(":")[:-1]] for line in lines]
        series = [np.array(each, float).T for each in channels]
        found += [[each[~np.isnan(each).all(1)] for each in series], np.array(y)]
    return found[0], found[1], found[2], found[3]


def resized(series: np.ndarray, points: int) -> np.ndarray:
    """Return a series (n, channels) at so many points, evenly spread."""
    places = np.linspace(0, 1, points), np.linspace(0, 1, len(series))
    return np.column_stack([np.interp(*places, channel) for channel in series.T])


def padded(series: list[np.ndarray], points: int) -> np.ndarray:
    """Return one row a series, with gaps behind its end."""
    rows = np.full((len(series), points, series[0].shape[1]), np.nan)
    for row, each in zip(rows, series, strict=True):
        row[: len(each)] = each
    return rows.reshape(len(series), -1)


def ragged(seed: int, make: Callable[[int], Any], resample: bool, sees_gaps: bool = True) -> dict[str, float]:
    """Return the figures of codes of series of different lengths."""
    train, y, test, y_test = vowels()
    points, channels = max(map(len, train + test)), train[0].shape[1]
    known, wanted = (padded(series, points) for series in (train, test))
    mean = np.nan_to_num(np.nansum(known, 0) / np.maximum((~np.isnan(known)).sum(0), 1))
    X, X_test = known, wanted
    if resample:
        X, X_test = (np.stack([resized(each, points).ravel() for each in series]) for series in (train, test))
    elif not sees_gaps:
        X, X_test = (np.where(np.isnan(rows), mean, rows) for rows in (X, X_test))
    made = make(seed)
    codes = coded(made, X, X_test)
    back = np.asarray(made.inverse_transform(codes.test)).reshape(len(test), points, channels)
    if resample:
        back = padded([resized(each, len(own)) for each, own in zip(back, test, strict=True)], points)
    r2 = 1 - np.nansum(np.square(wanted - back.reshape(wanted.shape))) / np.nansum(np.square(wanted - mean))
    near = KNeighborsClassifier(5).fit(codes.train, y).score(codes.test, y_test)
    return {"R2": float(r2), "5-NN": float(near), "seconds": codes.seconds}


def four(seed: int) -> ist.Autoencoder:
    """The default, at four numbers."""
    return ist.Autoencoder(latent_dim=4, random_state=seed, verbose=False)


RUNS: dict[str, Callable[[int], dict[str, float]]] = {
    "fashion: shuffled": lambda seed: worth(shuffled(seed), seed),
    "fashion: PCA": lambda seed: worth(principal(seed, False), seed),
    "fashion: pythae": lambda seed: worth(pythae(seed, False), seed),
    "fashion: codes": lambda seed: worth(ours(seed), seed),
    "fashion: directions": lambda seed: worth(directions(seed), seed),
    "fashion: PCA of roots": lambda seed: worth(principal(seed, True), seed),
    "fashion: pythae of roots": lambda seed: worth(pythae(seed, True), seed),
    "fashion: codes of roots": lambda seed: worth(of_roots(seed), seed),
    "fashion: codes of roots, evened": lambda seed: worth(evened(seed), seed),
    "ecg: shuffled": lambda seed: beats(seed, two, shuffle=True),
    "ecg: PCA": lambda seed: beats(seed, lambda s: PCA(2)),
    "ecg: default": lambda seed: beats(seed, two),
    "vowels: PCA, padded": lambda seed: ragged(seed, lambda s: PCA(4), resample=False, sees_gaps=False),
    "vowels: PCA, resampled": lambda seed: ragged(seed, lambda s: PCA(4), resample=True),
    "vowels: default, padded": lambda seed: ragged(seed, four, resample=False),
    "vowels: default, resampled": lambda seed: ragged(seed, four, resample=True),
}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: means and standard deviations over the seeds."""
    lines = []
    for data, names in (
        ("fashion", ("linear", "5-NN", "NMI", "seconds")),
        *((name, ("R2", "5-NN", "seconds")) for name in ("ecg", "vowels")),
    ):
        lines += ["", f"| {data} | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
        for row in (row for row in RUNS if row.startswith(data)):
            runs = [r for r in results if r["row"] == row]
            if runs:
                values = {name: [r[name] for r in runs] for name in names}
                cells = [
                    f"{np.mean(v):.3f} ± {np.std(v):.3f}" if n != "seconds" else f"{np.mean(v):.1f}"
                    for n, v in values.items()
                ]
                lines.append(f"| {row.partition(': ')[2]} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", choices=tuple(RUNS), default=list(RUNS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger(options.out, ("row", "seed"))
    if options.table:
        print(table(ledger.lines))
        return
    for row, seed in ((row, seed) for seed in options.seeds for row in options.rows):
        ledger.once(partial(RUNS[row], seed), row=row, seed=seed)


if __name__ == "__main__":
    main()
