"""Does augmentation help a classifier of 300 labelled rows, and does `augmentation_gain` know?

    python benchmarks/augmentation.py [--sets fashion_mnist,adult] [--seeds 0,1,2,3,4] [--out results.jsonl]

fashion_mnist: an autoencoder of 16 numbers, and one with a posterior, learn from 5,000 images without labels, of which 300 have
one; judged by 10,000 test images. adult: an autoencoder learns from 10,000 rows without income, of which 300 have it; a
synthesizer from the 300 alone; judged by the test file. As many samples are added as there are labelled rows, or four times
as many. Accuracies are of the whole 300 rows on the test rows; the sentence is what the 300 rows alone said beforehand.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
from synthetic import adult

import isthmus as ist
from isthmus.apps.augmentation.gain import usual_classifier

LABELLED = 300


def fashion(seed: int) -> tuple[dict[str, Any], Any, np.ndarray, Any, np.ndarray]:
    """Return the models, 300 labelled images and the test images."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(60_000)[:5000]
    images, labels = datasets.fashion_images("train")[index], datasets.fashion_labels("train")[index]
    models = {
        "autoencoder": ist.Autoencoder(latent_dim=16, random_state=seed).fit(images),
        "variational": ist.variational(latent_dim=16, random_state=seed).fit(images),
    }
    test = datasets.fashion_images("t10k"), datasets.fashion_labels("t10k")
    return models, images[:LABELLED], labels[:LABELLED], *test


def people(seed: int) -> tuple[dict[str, Any], Any, np.ndarray, Any, np.ndarray]:
    """Return the models, 300 labelled rows of adult and the test rows."""
    table, test = adult("data").sample(10_000, random_state=seed).reset_index(drop=True), adult("test")
    known, judged = table.drop(columns="income"), test.drop(columns="income")
    models = {
        "autoencoder": ist.Autoencoder(latent_dim=16, random_state=seed).fit(known),
        "synthesizer": ist.Synthesizer(),
    }
    labels, truth = table["income"].to_numpy(str), test["income"].str.rstrip(".").to_numpy(str)
    return models, known[:LABELLED], labels[:LABELLED], judged, truth


def added(model: Any, X: Any, y: np.ndarray, n: int, seed: int) -> tuple[Any, np.ndarray]:
    """Return what is added to the labelled rows, and its labels."""
    if isinstance(model, ist.Synthesizer):
        drawn = ist.Synthesizer(random_state=seed).fit(X.assign(income=y)).sample(n, random_state=seed)
        return drawn.drop(columns="income"), drawn["income"].to_numpy(str)
    found = ist.augment(model, X, n, y=y, random_state=seed)
    return found.samples, y[found.sources]


def features(parts: list[Any]) -> list[np.ndarray]:
    """Return images as pixels, tables as numbers and one-hots, all alike."""
    if not isinstance(parts[0], pd.DataFrame):
        return [np.asarray(part, np.float32).reshape(len(part), -1) / 255 for part in parts]
    hots = pd.get_dummies(pd.concat(parts), dtype=float).to_numpy()
    return np.split(hots, np.cumsum([len(part) for part in parts])[:-1])


def main() -> None:
    """Augment by every model, and print both what was foretold and what came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="fashion_mnist,adult")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.sets.split(","):
        for seed in map(int, options.seeds.split(",")):
            models, X, y, test, truth = (fashion if name == "fashion_mnist" else people)(seed)
            for called, model in models.items():
                for times in (1, 4):
                    foretold = ist.augmentation_gain(model, X, y, n=times * LABELLED, random_state=seed)
                    more, labels = added(model, X, y, times * LABELLED, seed)
                    own, extra, judged = features([X, more, test])
                    make = usual_classifier(LABELLED, is_table=name == "adult")
                    plain = float((make.fit(own, y).predict(judged) == truth).mean())
                    x, both = np.concatenate([own, extra]), np.concatenate([y, labels])
                    rich = float((make.fit(x, both).predict(judged) == truth).mean())
                    line = {"set": name, "model": called, "times": times, "seed": seed, "without": plain, "with": rich}
                    line |= {"foretold": foretold.gain, "verdict": foretold.verdict, "sentence": foretold.sentence()}
                    print(f"{name} {called} x{times} {plain:.4f} -> {rich:.4f}: {foretold.sentence()}", flush=True)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
