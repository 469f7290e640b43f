"""What anomalies among the training rows cost: AUROC on held-out rows when 0, 2, 5 or 10 % of the training rows are odd.

    python benchmarks/contamination.py [--detectors isthmus,IForest,AE] [--sets cardio,..] [--seeds 3] [--again isthmus]

Of each ADBench set half the normal rows and half the anomalies are kept for the test, the same ones at every level. As many
rows train at every level: N = the other normal rows, at most 5,000 and at most ten times the other anomalies; at a level c
c N of them are replaced by anomalies. Columns are standardised by the training rows. A detector that needs to be told a share
is told none. Scores that are not finite count as 0, infinite ones as the greatest, and are told.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import adbench
import numpy as np
import rivals
from rivals import Ledger, Rival
from sklearn.metrics import average_precision_score, roc_auc_score

LEVELS = (0.0, 0.02, 0.05, 0.1)
SETS = "annthyroid,6_cardio,mammography,satellite,shuttle"
LARGEST = 5_000


class Parts(NamedTuple):
    """Training rows of one level and the test rows, standardised, with the labels of the test."""

    train: np.ndarray
    test: np.ndarray
    y: np.ndarray


def split(one: adbench.Set, level: float, seed: int) -> Parts:
    """Return the parts of a set; the seed says which rows, the level only how many of them are odd."""
    rng = np.random.default_rng(seed)
    normal, odd = (rng.permutation(np.flatnonzero(one.y == label)) for label in (0, 1))
    (train_normal, test_normal), (train_odd, test_odd) = np.array_split(normal, 2), np.array_split(odd, 2)
    count = min(len(train_normal), LARGEST, int(len(train_odd) / max(LEVELS)))
    among = round(level * count)
    train = one.X[np.concatenate([train_normal[: count - among], train_odd[:among]])]
    test = np.concatenate([test_normal, test_odd])
    mean, deviation = train.mean(0), train.std(0)
    deviation[deviation == 0] = 1.0
    order = rng.permutation(len(train))
    return Parts((train[order] - mean) / deviation, (one.X[test] - mean) / deviation, one.y[test])


def measure(rival: Rival, one: adbench.Set, level: float, seed: int) -> dict[str, Any]:
    """Fit on the training rows of a level and score the test."""
    rivals.warm_up(rival)
    parts = split(one, level, seed)
    np.random.seed(seed)  # some detectors draw from the global generator
    started = time.process_time()
    detector = rival.make(parts.train.shape[1], seed)
    detector.fit(parts.train)
    seconds = time.process_time() - started
    scores = rivals.oddness(detector, parts.test)
    broken = int((~np.isfinite(scores)).sum())
    scores = np.nan_to_num(scores)
    return {
        "n": len(parts.train),
        "not_finite": broken,
        "auroc": round(float(roc_auc_score(parts.y, scores)), 5),
        "ap": round(float(average_precision_score(parts.y, scores)), 5),
        "fit": round(seconds, 3),
    }


def show(lines: Sequence[dict[str, Any]], labels: Sequence[str]) -> None:
    """Print AUROC by level, for the mean over the sets and for each, with what the highest level costs."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for line in lines:
        found.setdefault((line["set"], line["detector"], line["level"]), []).append(line["auroc"])
    names = sorted({line["set"] for line in lines})
    print("| set | detector | " + " | ".join(f"{level:.0%}" for level in LEVELS) + " | drop |")
    print("|---" * (len(LEVELS) + 3) + "|")
    for name in [*names, "mean"]:
        for label in labels:
            figures = [
                np.mean([np.mean(found[each, label, level]) for each in (names if name == "mean" else [name])])
                for level in LEVELS
            ]
            drop = figures[0] - figures[-1]
            print(f"| {name} | {label} | " + " | ".join(f"{figure:.3f}" for figure in figures) + f" | {drop:+.3f} |")
    for line in lines:
        if line["not_finite"]:
            where = f"{line['set']}, level {line['level']:.0%}, seed {line['seed']}"
            print(f"{line['detector']} on {where}: {line['not_finite']} scores were not finite")


def main() -> None:
    """Compute what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default="isthmus,IForest,AE")
    parser.add_argument("--sets", default=SETS, help="comma list of parts of names")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", default="", help="comma list of detectors whose lines are forgotten")
    parser.add_argument("--out", type=Path, default=Path("contamination.jsonl"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    ledger = Ledger(options.out, ("detector", "set", "level", "seed"), options.again)
    entrants = rivals.rivals(options.detectors)
    wanted = []
    for one in adbench.raw(options.sets):
        for seed in range(options.seeds):
            for level in LEVELS:
                for rival in entrants:
                    compute = partial(measure, rival, one, level, seed)
                    wanted.append(ledger.once(compute, detector=rival.label, set=one.name, level=level, seed=seed))
    show(wanted, [rival.label for rival in entrants])


if __name__ == "__main__":
    main()
