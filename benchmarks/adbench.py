"""Anomaly detection without labels on the sets of ADBench (Han et al. 2022), beside pyod's detectors with their defaults.

    python benchmarks/adbench.py [--detectors isthmus,IForest,AE] [--only cardio,glass] [--seeds 3] [--again isthmus]
    python benchmarks/adbench.py --detectors 'mine=package.module:Class?{"keyword": 1}' --show isthmus,IForest,mine

Protocol: at most 10,000 rows of a set (stratified, seed 0), columns standardised; a detector is fitted on all rows without
labels and scores the same rows; where pyod keeps scores of its training rows (a neighbour is then not its own) those count.
Scores that are NaN count as 0, infinite ones as the greatest, and both are told. The figures of a set are means over the
seeds; the seconds are CPU time of this process on one thread. Results are kept as JSON lines and not computed twice;
``--again`` forgets those of a detector.

From Python: ``judge(lambda columns, seed: Mine(random_state=seed), only="cardio,glass")``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import rivals
from rivals import Ledger, Make, Rival
from scipy.stats import rankdata, wilcoxon

LARGEST = 10_000
KEYS = ("detector", "set", "seed")


class Set(NamedTuple):
    """A set of rows, float64 (n, d), and which of them are anomalies (n,)."""

    name: str
    X: np.ndarray
    y: np.ndarray


def raw(only: str = "") -> Iterator[Set]:
    """Yield the sets, in their own units, smallest first; ``only`` is a comma list of parts of names."""
    found = []
    for file in (datasets.DATA / "adbench").glob("*.npz"):
        if any(part in file.stem for part in only.split(",")):
            with np.load(file) as arrays:
                found.append(Set(file.stem, arrays["X"].astype(float), arrays["y"].astype(int).ravel()))
    if not found:
        raise SystemExit(f"no set of {only!r} in {datasets.DATA / 'adbench'}; give another name or set ISTHMUS_DATA.")
    yield from sorted(found, key=lambda one: one.X.size)


def sets(only: str = "") -> Iterator[Set]:
    """Yield the sets as the detectors see them: at most 10,000 rows, standardised."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    for name, X, y in raw(only):
        if len(X) > LARGEST:
            taken, _ = train_test_split(np.arange(len(X)), train_size=LARGEST, stratify=y, random_state=0)
            taken.sort()
            X, y = X[taken], y[taken]
        yield Set(name, np.asarray(StandardScaler().fit_transform(X)), y)


def measure(make: Make, one: Set, seed: int) -> dict[str, Any]:
    """Fit and score one set with one seed."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    np.random.seed(seed)  # some detectors draw from the global generator
    started = time.process_time()
    detector = make(one.X.shape[1], seed)
    detector.fit(one.X.copy())
    fitted = time.process_time()
    scores = rivals.oddness(detector, one.X.copy())
    ended = time.process_time()
    if getattr(detector, "decision_scores_", None) is not None:
        scores = np.asarray(detector.decision_scores_, float).ravel()
    broken = int((~np.isfinite(scores)).sum())
    scores = np.nan_to_num(scores)
    return {
        "n": len(one.X),
        "d": one.X.shape[1],
        "auroc": round(float(roc_auc_score(one.y, scores)), 5),
        "ap": round(float(average_precision_score(one.y, scores)), 5),
        "fit": round(fitted - started, 3),
        "score": round(ended - fitted, 3),
        "not_finite": broken,
    }


def judge(make: Make, only: str = "", seeds: Sequence[int] = (0,), label: str = "candidate") -> list[dict[str, Any]]:
    """Return the results of a candidate, ``make(columns, seed)``, a line a set and seed; nothing is kept."""
    return [
        {"detector": label, "set": one.name, "seed": seed} | measure(make, one, seed)
        for one in sets(only)
        for seed in seeds
    ]


def run(entrants: Sequence[Rival], only: str, seeds: int, ledger: Ledger) -> None:
    """Compute what the ledger lacks, seed by seed, small sets first."""
    chosen = list(sets(only))
    for seed in range(seeds):
        for one in chosen:
            for rival in entrants:
                if seed in rival.seeds(seeds):
                    compute = partial(_measure_warm, rival, one, seed)
                    ledger.once(compute, detector=rival.label, set=one.name, seed=seed)


def _measure_warm(rival: Rival, one: Set, seed: int) -> dict[str, Any]:
    rivals.warm_up(rival)
    return measure(rival.make, one, seed)


def table(lines: Sequence[dict[str, Any]], names: Sequence[str], reference: str) -> str:
    """Return the summary and the figures set by set; the signs and tests compare everybody with ``reference``."""
    means = {key: _means(lines, names, key) for key in ("auroc", "ap", "fit", "score")}
    auroc, ap = means["auroc"], means["ap"]
    labels = sorted(auroc, key=lambda label: -auroc[label].mean())
    if not labels:
        return "nobody has results on all of these sets"
    ranks = _ranks(auroc, labels)
    short = [f"{len(labels)} detectors, {len(names)} sets; + - = : better, worse, tied than {reference}"]
    short += [
        "| detector | seeds | AUROC | AP | mean rank | worst to IForest | fit s | score s | versus | p AUROC | p AP |"
    ]
    short += ["|---|---|---|---|---|---|---|---|---|---|---|"]
    for label in labels:
        worst = _worst(auroc[label] - auroc["IForest"], names) if "IForest" in auroc else ""
        versus = _versus(means, label, reference) if reference in auroc and label != reference else " | | "
        figures = f"{auroc[label].mean():.4f} | {ap[label].mean():.4f} | {ranks[label]:.2f} | {worst}"
        spent = f"{means['fit'][label].mean():.2f} | {means['score'][label].mean():.2f}"
        short.append(f"| {label} | {_seeds(lines, names, label)} | {figures} | {spent} | {versus} |")
    for key in ("auroc", "ap"):
        short += ["", f"{'AUROC' if key == 'auroc' else 'AP'} set by set", "| set | " + " | ".join(labels) + " |"]
        short += ["|---" * (len(labels) + 1) + "|"]
        short += [
            f"| {name} | " + " | ".join(f"{means[key][label][place]:.3f}" for label in labels) + " |"
            for place, name in enumerate(names)
        ]
    short += [""] + [
        f"{line['detector']} on {line['set']}, seed {line['seed']}: {line['not_finite']} scores were not finite"
        for line in lines
        if line["not_finite"] and line["set"] in names
    ]
    return "\n".join(short)


def _means(lines: Sequence[dict[str, Any]], names: Sequence[str], key: str) -> dict[str, np.ndarray]:
    """Return, for every detector that has all the sets, its mean over seeds, set by set."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for line in lines:
        found.setdefault(line["detector"], {}).setdefault(line["set"], {})[line["seed"]] = line[key]
    return {
        label: np.array([np.mean(list(each[name].values())) for name in names])
        for label, each in found.items()
        if set(names) <= set(each)
    }


def _ranks(auroc: dict[str, np.ndarray], labels: Sequence[str]) -> dict[str, float]:
    ranks = rankdata(-np.array([auroc[label] for label in labels]).round(5), axis=0)
    return dict(zip(labels, ranks.mean(1), strict=True))


def _worst(gains: np.ndarray, names: Sequence[str]) -> str:
    place = int(gains.argmin())
    return f"{gains[place]:+.3f} {names[place]}"


def _versus(means: dict[str, dict[str, np.ndarray]], label: str, reference: str) -> str:
    """Return the signs over the sets, and p of Wilcoxon's signed-rank test, two-sided."""
    gains = {key: (means[key][label] - means[key][reference]).round(5) for key in ("auroc", "ap")}
    # a test of nothing but ties would be one of no numbers
    tests = [float(np.asarray(wilcoxon(gain))[1]) if gain.any() else 1.0 for gain in gains.values()]
    signs = [int((np.sign(gains["auroc"]) == sign).sum()) for sign in (1, -1, 0)]
    return f"+{signs[0]} -{signs[1]} ={signs[2]} | {tests[0]:.4f} | {tests[1]:.4f}"


def _seeds(lines: Sequence[dict[str, Any]], names: Sequence[str], label: str) -> int:
    """Return how many seeds a detector has, on the set where it has fewest."""
    had = [{line["seed"] for line in lines if (line["detector"], line["set"]) == (label, name)} for name in names]
    return min(map(len, had))


def main() -> None:
    """Compute what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default=",".join(rivals.DETECTORS), help="whom to run; empty: nobody")
    parser.add_argument("--show", default="", help="whom to show; empty: everybody in the file")
    parser.add_argument("--only", default="", help="comma list of parts of names of sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", default="", help="comma list of detectors whose lines are forgotten")
    parser.add_argument("--reference", default="", help="compare everybody with this one; isthmus if it is there")
    parser.add_argument("--out", type=Path, default=Path("adbench.jsonl"))
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what breaks a score is told in the table
    ledger = Ledger(options.out, KEYS, options.again)
    run(rivals.rivals(options.detectors), options.only, options.seeds, ledger)
    names = [one.name for one in raw(options.only)]
    shown = [line for line in ledger.lines if not options.show or line["detector"] in options.show.split(",")]
    present = {line["detector"] for line in shown}
    print(table(shown, names, options.reference or (rivals.OURS if rivals.OURS in present else "IForest")))


if __name__ == "__main__":
    main()
