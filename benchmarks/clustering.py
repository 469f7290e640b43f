"""Groups beside known labels: NMI and ARI of codes, pixels and PCA, and what refinement is worth.

    OMP_NUM_THREADS=1 python benchmarks/clustering.py [--data digits fashion] [--rows 10000] [--seeds 5] [--latent 16]
    OMP_NUM_THREADS=1 python benchmarks/clustering.py --count

10 groups, as many as there are classes; labels are seen by nobody but the scores. All rows cluster and are scored. A seed is
that of k-means or of autoencoder, grouping and refinement together; the line under a mean is the standard deviation over
seeds. "stability" is the mean ARI between the groups of the seeds. ``--count`` asks how many groups each rule finds on
codes where it is known.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from itertools import combinations

import datasets
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score as ari
from sklearn.metrics import normalized_mutual_info_score as nmi
from sklearn.metrics import silhouette_score

import isthmus as ist
from isthmus.apps.clustering.choice import bic_of, stability_of
from isthmus.apps.clustering.groups import Centres
from isthmus.apps.clustering.refinement import refine

MOST = 15


def load(name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, h, w) and labels."""
    if name == "digits":
        return load_digits().images, load_digits().target
    return datasets.fashion_images("train")[:rows], datasets.fashion_labels("train")[:rows]


def k_means(z: np.ndarray, seed: int) -> np.ndarray:
    """Return scikit-learn's groups."""
    return KMeans(10, n_init=10, random_state=seed).fit_predict(z)


def ways(images: np.ndarray, latent: int, seed: int) -> dict[str, Callable[[], np.ndarray]]:
    """Return the ways to group, by name; those that share an autoencoder share its training."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    trained: dict[str, ist.Autoencoder] = {}

    def ae(kind: str) -> ist.Autoencoder:
        if kind not in trained:
            fresh = ist.Autoencoder(latent_dim=latent, effort="quick", random_state=seed, verbose=False)
            trained[kind] = fresh.fit(images if kind == "conv" else flat)
        return trained[kind]

    def grouped(kind: str, **settings: object) -> Callable[[], np.ndarray]:
        X = images if kind == "conv" else flat
        return lambda: ist.Clusterer(10, autoencoder=ae(kind), random_state=seed, **settings).fit(X).labels_

    def papers(kind: str) -> np.ndarray:
        X, model = images if kind == "conv" else flat, ae(kind)
        start = Centres.fit(model.transform(X), 10, seed)
        refined, found = refine(model, X, start, seed, hops=0)
        return found.predict(refined.transform(X))

    return {
        "k-means on pixels": lambda: k_means(flat, seed),
        f"k-means on PCA-{latent}": lambda: k_means(PCA(latent, random_state=0).fit_transform(flat), seed),
        "codes of the MLP, k-means": grouped("mlp"),
        "... refined as in the papers": lambda: papers("mlp"),
        "... refined (`refine=True`)": grouped("mlp", refine=True),
        "... mixture": grouped("mlp", method="mixture"),
        "... mixture, refined": grouped("mlp", method="mixture", refine=True),
        "codes of the convolutional network, k-means": grouped("conv"),
        "... refined (`refine=True`) ": grouped("conv", refine=True),
    }


def compare(name: str, rows: int, seeds: int, latent: int) -> None:
    """Print a table of one data set."""
    images, y = load(name, rows)
    labels: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    for seed in range(seeds):
        for way, work in ways(images, latent, seed).items():
            started = time.process_time()
            labels.setdefault(way, []).append(work())
            seconds[way] = seconds.get(way, 0.0) + (time.process_time() - started) / seeds
    print(f"\n{name}: {len(images):,} images, {latent} numbers a code, {seeds} seeds")
    print("| groups of | NMI | ARI | stability | CPU s |")
    print("|---|---|---|---|---|")
    for way, found in labels.items():
        scores = [[score(y, each) for each in found] for score in (nmi, ari)]
        cells = [f"{np.mean(values):.3f} ± {np.std(values):.3f}" for values in scores]
        agreement = np.mean([ari(a, b) for a, b in combinations(found, 2)]) if seeds > 1 else float("nan")
        print(f"| {way.strip()} | {' | '.join(cells)} | {agreement:.3f} | {seconds[way]:.1f} |", flush=True)


def known_counts() -> dict[str, tuple[object, int]]:
    """Return data whose number of groups is known."""
    import pandas as pd

    penguins = pd.read_csv(datasets.DATA / "seaborn_tables/penguins.csv").drop(columns="species")
    found: dict[str, tuple[object, int]] = {
        "digits": (load_digits().data, 10),
        "iris": (load_iris().data, 3),
        "wine": (load_wine(as_frame=True).data, 3),
        "penguins": (penguins, 3),
        "penguins, numbers only": (penguins.iloc[:, 1:5], 3),
    }
    for k, d, spread in ((5, 10, 1.5), (8, 2, 0.8), (12, 20, 2.0)):
        found[f"{k} blobs in {d} dimensions"] = (
            make_blobs(1000, d, centers=k, cluster_std=spread, random_state=0)[0],
            k,
        )
    found["one blob"] = (np.random.default_rng(0).normal(size=(500, 8)), 1)
    return found


def count() -> None:
    """Print how many groups each rule finds."""
    print(f"| data | groups | BIC | silhouette (2 to {MOST}) | stability (2 to {MOST}) |")
    print("|---|---|---|---|---|")
    for name, (X, k) in known_counts().items():
        codes = ist.Autoencoder(random_state=0, verbose=False, effort="quick").fit(X).transform(X).astype(np.float64)
        bic = bic_of(codes, 0)
        tried = range(2, MOST + 1)
        silhouette = {q: silhouette_score(codes, Centres.fit(codes, q, 0).predict(codes)) for q in tried}
        stable = {q: stability_of(codes, lambda z, seed, q=q: Centres.fit(z, q, seed), 0) for q in tried}
        said = (min(bic, key=bic.__getitem__), *(max(each, key=each.__getitem__) for each in (silhouette, stable)))
        print(f"| {name} | {k} | {' | '.join(map(str, said))} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "fashion"])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--count", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.count:
        count()
        return
    for name in options.data:
        compare(name, options.rows, options.seeds, options.latent)


if __name__ == "__main__":
    main()
