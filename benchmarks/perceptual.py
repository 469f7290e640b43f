"""What the networks of `Perceptual` bring: reconstructions with a random one, with a trained one, and without the penalty.

    python benchmarks/perceptual.py --out results.jsonl                                # what is missing of it
    python benchmarks/perceptual.py --out results.jsonl --data digits --network mlp    # a part
    python benchmarks/perceptual.py --out results.jsonl --table

Fashion-MNIST (2,000 training and 1,000 test images, a code of 16) and scikit-learn's digits (1,200 and 597, a code of 8), a
multi-layer perceptron and a convolutional network, no start from PCA, the penalty at its default weight. "error" is the squared
error of a test image summed over its pixels in [0, 1], "similarity" its structural similarity (Wang 2004), "probe" the accuracy
of logistic regression on the mean over positions of every feature map of the penalty's network. Seconds are CPU seconds of the
fit.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import isthmus as ist
from isthmus.layout import Layout
from isthmus.parts.penalties.features import FeatureNetwork
from isthmus.parts.step import Batch

LATENT = {"fashion": 16, "digits": 8}
EPOCHS = {("fashion", "mlp"): 15, ("fashion", "conv"): 6, ("digits", "mlp"): 40, ("digits", "conv"): 30}
FEATURES = ("none", "random", "trained")


def images(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and their labels, test images and theirs; pixels in [0, 1]."""
    if name == "digits":
        digits = load_digits()
        x, y, rows = digits.images.astype(np.float32) / 16, digits.target, 1_200
        return x[:rows], y[:rows], x[rows:], y[rows:]
    x = [datasets.fashion_images(part)[:rows].astype(np.float32) / 255 for part, rows in _SPLIT]
    y = [datasets.fashion_labels(part)[:rows] for part, rows in _SPLIT]
    return x[0], y[0], x[1], y[1]


_SPLIT = (("train", 2_000), ("t10k", 1_000))


def similarity(x: np.ndarray, x_hat: np.ndarray) -> float:
    """Return the mean structural similarity of images (n, h, w)."""
    a, b = (torch.from_numpy(np.asarray(values, np.float32))[:, None] for values in (x, x_hat))
    cells = ist.SSIM(squared_error=0.0).cells(b, Batch(a), Layout((1, *x.shape[1:])))
    return float(1 - 2 * cells.mean())


def probe(network: Any, train: np.ndarray, y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> float:
    """Return how well a linear classifier on the features separates the classes."""

    @torch.no_grad()
    def seen(x: np.ndarray) -> np.ndarray:
        return torch.cat([maps.mean((2, 3)) for maps in network(torch.from_numpy(x)[:, None])], dim=1).numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a probe need not converge to the last digit
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(seen(train), y)
    return float(classifier.score(seen(test), test_y))


def run(name: str, kind: str, features: str, seed: int) -> dict[str, Any]:
    """Fit one autoencoder and return its figures."""
    train, y, test, test_y = images(name)
    network = ist.MLP(hidden=(256, 128)) if kind == "mlp" else ist.Conv()
    ae = ist.Autoencoder(
        network=network,
        latent_dim=LATENT[name],
        penalties=() if features == "none" else ist.Perceptual(features=features),
        max_epochs=EPOCHS[name, kind],
        shortcut=False,
        random_state=seed,
        verbose=False,
    )
    started = time.process_time()
    ae.fit(train)
    figures: dict[str, Any] = {"seconds": time.process_time() - started}
    x_hat = np.asarray(ae.reconstruct(test))
    figures |= {"error": float(np.square(x_hat - test).sum((1, 2)).mean()), "similarity": similarity(test, x_hat)}
    if features != "none":
        looking = ae.model_.features["perceptual"] if features == "trained" else FeatureNetwork(1)
        figures["probe"] = probe(looking, train, y, test, test_y)
    return figures


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: means over the seeds."""
    lines = ["| data | network | features | error | similarity | probe | CPU s |", "|---|---|---|---|---|---|---|"]
    for key in dict.fromkeys((r["data"], r["network"], r["features"]) for r in results):
        runs = [r for r in results if (r["data"], r["network"], r["features"]) == key]
        error, alike, seconds = (np.mean([r[name] for r in runs]) for name in ("error", "similarity", "seconds"))
        probes = [r["probe"] for r in runs if "probe" in r]
        accuracy = f"{np.mean(probes):.3f}" if probes else ""
        lines.append(f"| {' | '.join(key)} | {error:.3f} | {alike:.4f} | {accuracy} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=tuple(LATENT), default=list(LATENT))
    parser.add_argument("--network", nargs="*", choices=("mlp", "conv"), default=["mlp", "conv"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.table:
        print(table(sorted(known, key=lambda r: (r["data"], r["network"], FEATURES.index(r["features"])))))
        return
    done = {(r["data"], r["network"], r["features"], r["seed"]) for r in known}
    jobs = [(d, n, f, s) for d in options.data for n in options.network for s in options.seeds for f in FEATURES]
    for job in jobs:
        if job not in done:
            result = dict(zip(("data", "network", "features", "seed"), job, strict=True)) | run(*job)
            with options.out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(result, flush=True)


if __name__ == "__main__":
    main()
