"""Does augmentation help a classifier of 300 labelled rows, and does `augmentation_gain` know?

    python benchmarks/augmentation.py [--sets fashion_mnist,adult] [--seeds 0,1,2,3,4] [--out results.jsonl]

fashion_mnist: an autoencoder of 16 numbers, and one with a posterior, learn from 2,000 images without labels, of which 300 have
one; judged by 10,000 test images. adult: an autoencoder learns from 10,000 rows without income, of which 300 have it; a
synthesizer from the 300 alone; judged by the test file. As many samples are added as there are labelled rows. Accuracies are of
the 300 rows on the test rows; the sentence is what the 300 rows alone said beforehand.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pandas as pd
from synthetic import adult

import isthmus as ist
from isthmus.apps.augmentation.gain import usual_classifier

LABELLED = 300


class Task(NamedTuple):
    """What there is to learn, and to judge by."""

    models: dict[str, Any]
    X: Any
    y: np.ndarray
    test: Any
    truth: np.ndarray


def fashion() -> Task:
    """Return models of 2,000 images, their labels, and the test images."""
    images, labels = datasets.fashion_images("train")[:2000], datasets.fashion_labels("train")[:2000]
    settings = {"latent_dim": 16, "network": "mlp", "effort": "quick", "random_state": 0}
    models = {
        "autoencoder": ist.Autoencoder(**settings).fit(images),
        "variational": ist.variational(**settings).fit(images),
    }
    return Task(models, images, labels, datasets.fashion_images("t10k"), datasets.fashion_labels("t10k"))


def people() -> Task:
    """Return models of 10,000 rows of adult without income, the income, and the test rows."""
    table, test = adult("data").sample(10_000, random_state=0).reset_index(drop=True), adult("test")
    known, judged = table.drop(columns="income"), test.drop(columns="income")
    models = {
        "autoencoder": ist.Autoencoder(latent_dim=16, effort="quick", random_state=0).fit(known),
        "synthesizer": ist.Synthesizer(),
    }
    truth = test["income"].str.rstrip(".").to_numpy(str)
    return Task(models, known, table["income"].to_numpy(str), judged, truth)


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
        task = fashion() if name == "fashion_mnist" else people()
        for seed in map(int, options.seeds.split(",")):
            index = np.random.default_rng(seed).permutation(len(task.y))[:LABELLED]
            X, y = task.X.iloc[index] if name == "adult" else task.X[index], task.y[index]
            for called, model in task.models.items():
                foretold = ist.augmentation_gain(model, X, y, random_state=seed)
                more, labels = added(model, X, y, LABELLED, seed)
                own, extra, judged = features([X, more, task.test])
                judge = usual_classifier(LABELLED, is_table=name == "adult")
                plain = float((judge.fit(own, y).predict(judged) == task.truth).mean())
                x, both = np.concatenate([own, extra]), np.concatenate([y, labels])
                rich = float((judge.fit(x, both).predict(judged) == task.truth).mean())
                line = {"set": name, "model": called, "seed": seed, "without": plain, "with": rich}
                line |= {"foretold": foretold.gain, "verdict": foretold.verdict, "sentence": foretold.sentence()}
                print(f"{name} {called} {plain:.4f} -> {rich:.4f}: {foretold.sentence()}", flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
