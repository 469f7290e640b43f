"""Held-out squared error of a default fit over that of PCA, at the same latent size and scaling.

    python benchmarks/pca_floor.py [--seeds 5] [--sets digits,..] [--latents 2,8,32] [--out results.jsonl]

A fifth of the rows is kept from both; PCA learns from the same training rows as the autoencoder, all of them. Cases in
which PCA leaves less than 1e-3 of the variance are left out. One JSON line a fit, then a table; a results file that
exists is continued. ``--scale columns`` standardises every column first, for both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from sklearn.decomposition import PCA

import isthmus as ist


def split(X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test rows."""
    order = np.random.default_rng(seed).permutation(len(X))
    return X[order[len(X) // 5 :]], X[order[: len(X) // 5]]


def measure(X: np.ndarray, latent_dim: int, seed: int, **settings: Any) -> dict[str, Any]:
    """Fit both on one split; return the errors, their ratio and the seconds of CPU that the fit took."""
    train, test = split(X, seed)
    pca = PCA(latent_dim, svd_solver="full").fit(train.astype(np.float64))
    floor = float(((pca.inverse_transform(pca.transform(test)) - test) ** 2).sum(1).mean())
    started = time.process_time()
    ae = ist.Autoencoder(latent_dim=latent_dim, random_state=seed, verbose=False, **settings).fit(train)
    seconds = time.process_time() - started
    error = float(((ae.reconstruct(test).astype(np.float64) - test) ** 2).sum(1).mean())
    kept = None if ae.floor_ is None else bool(ae.floor_.kept)
    return {"ratio": error / floor, "error": error, "pca": floor, "kept": kept, "epochs": ae.n_iter_, "cpu": seconds}


def cases(name: str, latents: list[int], scale: str) -> tuple[np.ndarray, list[int]]:
    """Return the rows of a set and the latent sizes that leave PCA something to miss."""
    X = datasets.load(name)
    if scale == "columns":
        X = datasets.standardised(X[:, X.std(0) > 0])
    variances = np.linalg.eigvalsh(np.cov(X.T.astype(np.float64)))[::-1]
    left = 1 - variances.cumsum() / variances.sum()
    return X, [k for k in latents if k < X.shape[1] and left[k - 1] > 1e-3]


def main() -> None:
    """Run every case that is not yet in the results file, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", default=",".join(datasets.names()))
    parser.add_argument("--latents", default="2,8,32")
    parser.add_argument("--scale", choices=["common", "columns"], default="common")
    parser.add_argument("--out", type=Path, default=Path("pca_floor.jsonl"))
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    results = [json.loads(line) for line in lines]
    done = {(r["set"], r["latent"], r["seed"]) for r in results}
    with options.out.open("a") as out:
        for name in options.sets.split(","):
            X, latents = cases(name, [int(k) for k in options.latents.split(",")], options.scale)
            for latent in latents:
                for seed in range(options.seeds):
                    if (name, latent, seed) in done:
                        continue
                    result = {"set": name, "latent": latent, "seed": seed, **measure(X, latent, seed)}
                    results.append(result)
                    out.write(json.dumps(result) + "\n")
                    out.flush()
    show(results)


def show(results: list[dict[str, Any]]) -> None:
    """Print a line a case, then the two figures that are promised."""
    ratios: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        ratios[result["set"], result["latent"]].append(result)
    print(f"{'set':20} latent  mean   min   max  kept  CPU s")
    for (name, latent), group in ratios.items():
        values = [r["ratio"] for r in group]
        kept, cpu = sum(bool(r["kept"]) for r in group), np.mean([r["cpu"] for r in group])
        line = f"{np.mean(values):.3f} {min(values):.3f} {max(values):.3f}  {kept}/{len(group)}  {cpu:.1f}"
        print(f"{name:20} {latent:6} {line}")
    means = [np.mean([r["ratio"] for r in group]) for group in ratios.values()]
    per_set: dict[str, list[float]] = defaultdict(list)
    for (name, _), group in ratios.items():
        per_set[name].append(float(np.mean([r["ratio"] for r in group])))
    print(f"worst mean over seeds {max(means):.3f} (promise: never above 1.02)")
    print(
        f"median over cases {np.median(means):.3f}, over sets {np.median([np.mean(v) for v in per_set.values()]):.3f}"
    )


if __name__ == "__main__":
    main()
