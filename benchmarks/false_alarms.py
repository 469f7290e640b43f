"""Do p-values and cuts keep what they promise? False alarms, false discoveries and recall, with simple scorers.

    python benchmarks/false_alarms.py [--scorers mahalanobis,knn,iforest] [--seeds 20] [--members 8] [--part rates|bags]

A scorer is anything with fit(X) and score(X) -> (n,), higher = odder; `--scorers package.module:Class` drops one in.

rates: half of the normal rows of a set (the 15 of ADBench, and two of Gaussians) is for training, with a share of anomalies
mixed in; a third of it is kept from the fit to calibrate, or, with --members 8, all of it is scored out of bag. The other
half is fresh: the share flagged at alpha = .01 is the rate of false alarms. Batches of up to 950 fresh rows and 5 %
anomalies go through Benjamini-Hochberg at .1: the mean share of false ones (FDR), and the recall, summed over batches, over
that of the best cut in hindsight (of those whose share of false ones is at most .1). `fixed` is the cut of threshold="fdr"
at .1, made at fit, on the same batches: how often it found anomalies in the training rows, and FDR and recall of those fits
(the others cut at alpha). Anomalies: "five" = 5 standard deviations added to two columns of a normal row, "class" = rows of
the other label.

bags: rows that were kept out beside rows scored by the half of the members that has not seen them ("out of bag"; a new
row is scored by all members): the share of fresh Gaussian and ADBench rows with p <= alpha, by number of training rows.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np

from isthmus.apps.anomaly.calibration import Calibration, Null
from isthmus.apps.anomaly.decisions import decide
from isthmus.errors import DataWarning

MOST_ROWS = 4_000
FDR, ALPHA, SHARE = 0.1, 0.01, 0.05


class Mahalanobis:
    """The distance to the mean in units of the (slightly ridged) covariance."""

    def fit(self, X: np.ndarray) -> Mahalanobis:
        self.mean = X.mean(0)
        self.precision = np.linalg.inv(np.cov(X.T) + 1e-3 * max(X.var(0).mean(), 1e-9) * np.eye(X.shape[1]))
        return self

    def score(self, X: np.ndarray) -> np.ndarray:
        away = X - self.mean
        return np.sqrt(np.einsum("ij,jk,ik->i", away, self.precision, away))


class Pruned(Mahalanobis):
    """The same, fitted again without the oddest 15 % of its rows: what pruning does to calibration."""

    def fit(self, X: np.ndarray) -> Pruned:
        super().fit(X)
        odd = self.score(X)
        super().fit(X[odd <= np.quantile(odd, 0.85)])
        return self


class Neighbours:
    """The mean distance to the five nearest training rows."""

    def fit(self, X: np.ndarray) -> Neighbours:
        from sklearn.neighbors import NearestNeighbors

        self.index = NearestNeighbors(n_neighbors=5).fit(X)
        return self

    def score(self, X: np.ndarray) -> np.ndarray:
        return self.index.kneighbors(X)[0].mean(1)


class Forest:
    """scikit-learn's isolation forest."""

    def fit(self, X: np.ndarray) -> Forest:
        from sklearn.ensemble import IsolationForest

        self.forest = IsolationForest(random_state=0, n_jobs=1).fit(X)
        return self

    def score(self, X: np.ndarray) -> np.ndarray:
        return -self.forest.score_samples(X)


SCORERS: dict[str, Callable[[], Any]] = {
    "mahalanobis": Mahalanobis,
    "pruned": Pruned,
    "knn": Neighbours,
    "iforest": Forest,
}


def scorer(name: str) -> Callable[[], Any]:
    """Return what makes the scorer of that name, or the class at ``package.module:Class``."""
    if name in SCORERS:
        return SCORERS[name]
    module, _, member = name.partition(":")
    return getattr(importlib.import_module(module), member)


def sets(chosen: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, normal rows and anomalies; columns are standardised by the normal rows."""
    rng = np.random.default_rng(9)
    for d in (5, 20):
        turn = rng.normal(size=(d, d))
        other = rng.normal(size=(MOST_ROWS // 8, d)) @ turn + 3 * turn.std(0) * rng.choice([-1, 1], d)
        if chosen in ("all", f"gauss{d}"):
            yield f"gauss{d}", *standardised(rng.normal(size=(MOST_ROWS, d)) @ turn, other)
    for file in sorted((datasets.DATA / "adbench").glob("*.npz")):
        if chosen in ("all", file.stem):
            with np.load(file) as data:
                X, y = data["X"].astype(np.float64), data["y"].ravel()
            rows = np.random.default_rng(0).permutation(np.flatnonzero(y == 0))[:MOST_ROWS]
            yield file.stem, *standardised(X[rows], X[y == 1])


def standardised(normal: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in the units of the normal rows; a constant column keeps its own."""
    mean, std = normal.mean(0), normal.std(0)
    std[std == 0] = 1
    return (normal - mean) / std, (odd - mean) / std


def five(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add five standard deviations, up or down, to two columns of each row."""
    X = X.copy()
    columns = rng.permuted(np.tile(np.arange(X.shape[1]), (len(X), 1)), axis=1)[:, :2]
    np.put_along_axis(X, columns, np.take_along_axis(X, columns, 1) + 5 * rng.choice([-1, 1], columns.shape), 1)
    return X


def discoveries(flagged: np.ndarray, odd: np.ndarray) -> tuple[float, float]:
    """Return the share of false ones among the flagged rows, and the share of anomalies that is flagged."""
    return float((flagged & ~odd).sum() / max(flagged.sum(), 1)), float((flagged & odd).sum() / odd.sum())


def best_recall(scores: np.ndarray, odd: np.ndarray) -> float:
    """Return the best recall of the cuts whose share of false ones is at most FDR."""
    levels = np.unique(scores)
    flagged = len(scores) - np.searchsorted(np.sort(scores), levels)
    right = odd.sum() - np.searchsorted(np.sort(scores[odd]), levels)
    return float(right[(flagged - right) <= FDR * flagged].max(initial=0) / odd.sum())


def rates(names: list[str], chosen: str, seeds: int, members: int) -> None:
    """Print one row for each scorer, kind of anomaly, contamination and null."""
    totals: dict[tuple[str, str, float, Null], list[np.ndarray]] = defaultdict(list)
    for name, normal, others in sets(chosen):
        for seed in range(seeds):
            for kind in ("five", "class"):
                for dirt in (0.0, 0.02, 0.05, 0.1):
                    rng = np.random.default_rng([seed, round(100 * dirt)])
                    train, fresh = np.array_split(rng.permutation(normal), 2)
                    extra = round(dirt / (1 - dirt) * len(train))
                    if kind == "five":
                        mixed, odd = five(train[rng.integers(len(train), size=extra)], rng), five(fresh, rng)
                    else:
                        mixed, odd = np.array_split(rng.permutation(others), 2)
                        mixed = mixed[:extra]
                    order = rng.permutation(len(train) + len(mixed))
                    dirty, is_normal = np.concatenate([train, mixed])[order], order < len(train)
                    for label in names:
                        known, of = calibrated(scorer(label), dirty, members, rng)
                        which, again = is_normal[: len(known)], np.random.default_rng(seed)
                        found = judged(known, of(fresh), of(odd), which, again)
                        for null, numbers in found.items():
                            totals[label, kind, dirt, null].append(numbers)
        print(f"({name}: {len(normal)} normal rows)", flush=True)
    print(
        "scorer       anomalies dirt null    p: false alarms at .01    FDR  recall/best   fixed: false alarms  ", end=""
    )
    print("found    FDR  recall/best   normal rows set aside")
    for (label, kind, dirt, null), numbers in totals.items():
        false, fresh_rows, fdp, recall, best, alarms, found, *fixed, aside = np.sum(numbers, 0)
        n = len(numbers)
        print(
            f"{label:12} {kind:9} {dirt:4.2f} {null:7} {false / fresh_rows:22.4f}  {fdp / n:5.3f}  {recall / best:11.2f}   "
            f"{alarms / fresh_rows:19.4f}  {found / n:5.2f}  {fixed[0] / max(found, 1):5.3f}  "
            f"{fixed[1] / max(fixed[2], 1e-9):11.2f}   {aside / n:21.4f}"
        )


def calibrated(
    make: Callable[[], Any], train: np.ndarray, members: int, rng: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return scores of the first rows, which the scorer was not fitted on, and the scorer: of the rest, or of bags."""
    if members:
        return bagged(make, train, members, rng)
    third = len(train) // 3
    made = make().fit(train[third:])
    return made.score(train[:third]), made.score


def judged(
    calibration: np.ndarray, fresh: np.ndarray, odd: np.ndarray, is_normal: np.ndarray, rng: np.random.Generator
) -> dict[Null, np.ndarray]:
    """Return for each null what the columns of ``rates`` are made of."""
    rows = rng.permutation(len(fresh))[:950]
    few = rng.permutation(len(odd))[: max(round(SHARE / (1 - SHARE) * len(rows)), 1)]
    batch = np.concatenate([fresh[rows], odd[few]])
    truth = np.arange(len(batch)) >= len(rows)
    best = best_recall(batch, truth)
    found = {}
    for null in ("plain", "robust"):
        made = Calibration(calibration, null)
        false = (made.p_values(fresh) <= ALPHA).sum()
        cut = decide(made, "fdr", fdr=FDR, alpha=ALPHA)
        fixed = np.array([1, *discoveries(cut.flags(batch), truth), best]) * (cut.rule == "fdr")
        aside = (is_normal & (calibration > made.kept[-1])).sum() / is_normal.sum()
        ours = discoveries(made.detect(batch, FDR), truth)
        found[null] = np.array([false, len(fresh), *ours, best, cut.flags(fresh).sum(), *fixed, aside])
    return found


def bags(names: list[str], chosen: str, seeds: int) -> None:
    """Print the share of fresh rows with p <= alpha for rows kept out (a third), and out of bag with 4, 8 and 20 members."""
    levels = np.array([0.01, 0.05, 0.1])
    for label in names:
        for n in (60, 120, 250, 500, 1000, 2000):
            totals: dict[str, list[np.ndarray]] = defaultdict(list)
            for _, normal, _ in sets(chosen):
                if len(normal) < 1.5 * n:
                    continue
                for seed in range(seeds):
                    rng = np.random.default_rng(seed)
                    order = rng.permutation(normal)
                    train, fresh = order[:n], order[n : n + 2000]
                    odd = five(fresh, rng)[:200]
                    made = scorer(label)().fit(train[n // 3 :])
                    note(totals["kept out"], made.score(train[: n // 3]), made.score(fresh), made.score(odd), levels)
                    for members in (4, 8, 20):
                        outside, of = bagged(scorer(label), train, members, rng)
                        note(totals[f"bag {members}"], outside, of(fresh), of(odd), levels)
            for kind, numbers in totals.items():
                at_01, at_05, at_10, power = np.mean(numbers, 0)
                print(
                    f"{label:12} n={n:<5} {kind:9} p<=.01: {at_01:.4f}  <=.05: {at_05:.4f}  <=.1: {at_10:.4f}   "
                    f"anomalies with p<=.01: {power:.3f}   ({len(numbers)} fits)"
                )


def bagged(
    make: Callable[[], Any], train: np.ndarray, members: int, rng: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Fit members on random halves, two of which make the whole; return out-of-bag scores and the score of new rows."""
    made, outside = [], np.zeros(len(train))
    for _ in range(members // 2):
        order = rng.permutation(len(train))
        for inside, rest in (np.array_split(order, 2), np.array_split(order, 2)[::-1]):
            made.append(make().fit(train[inside]))
            outside[rest] += made[-1].score(train[rest]) / (members // 2)
    return outside, lambda X: np.mean([one.score(X) for one in made], 0)


def note(
    numbers: list[np.ndarray], calibration: np.ndarray, fresh: np.ndarray, odd: np.ndarray, levels: np.ndarray
) -> None:
    """Add the share of fresh rows below each level, and that of anomalies below the first."""
    made = Calibration(calibration)
    p = made.p_values(fresh)
    numbers.append(
        np.array([*(p[:, None] <= levels + 1e-12).mean(0), (made.p_values(odd) <= levels[0] + 1e-12).mean()])
    )


def main() -> None:
    """Run one part, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorers", default="mahalanobis,knn,iforest,pruned")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", choices=("rates", "bags"), default="rates")
    parser.add_argument("--members", type=int, default=0, help="calibrate out of bag, with so many members")
    parser.add_argument("--sets", default="all", help="all, or the name of one")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)  # small sets cannot show .01; that is part of what is measured
    names = options.scorers.split(",")
    if options.part == "rates":
        rates(names, options.sets, options.seeds, options.members)
    else:
        bags(names, options.sets, options.seeds)


if __name__ == "__main__":
    main()
