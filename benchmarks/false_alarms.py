"""Do p-values and cuts keep what they promise? False alarms, false discoveries and recall.

    python benchmarks/false_alarms.py --part detector [--seeds 3] [--sets all|gauss5,38_thyroid,adult]
    python benchmarks/false_alarms.py --part rates|bags [--scorers mahalanobis,knn,iforest] [--seeds 20] [--members 8]

Half of the normal rows of a set (of Gaussians, of the 15 sets of ADBench, of adult and diamonds) is for training, the other
half is fresh: its share with p <= .01 is the rate of false alarms. Batches of up to 950 fresh rows and 5 % odd ones (--share),
twenty a fit, go through Benjamini-Hochberg at .1: the mean share of false ones (FDR), and the recall, summed over batches,
over that of the best cut in hindsight (of those whose share of false ones is at most .1). `smoothed`: the same by smoothed
p-values. `fixed` is threshold="fdr" at .1: the cut that a first such batch tells, judged on a second one: how often the
first showed anomalies, and FDR and recall of those. Anomalies: "five" = 5 standard deviations added to two columns of a
normal row, "swap" = one category changed for another, "class" = rows of the other label. `n` are the calibrating rows, a
mean over the fits; `at .01` is the recall of p <= .01, over that of the best cut in hindsight that flags at most .01 of the
fresh rows.

detector: AnomalyDetector, `novelty` and by default, fitted on clean rows; by default on rows with 5 % anomalies ("five") among
them; and the same after `recalibrate` on 500 clean rows (or a third of the fresh ones), which are then not judged. Each kind
over all sets, over those with at least 1,000 calibrating rows ("many") and with fewer ("few"), and set by set.

rates: simple scorers. A third of the training rows, with a share of anomalies mixed in (dirt), is kept to calibrate,
or, with --members 8, all of it is scored out of bag. A scorer is anything with fit(X) and score(X) -> (n,), higher = odder;
`--scorers package.module:Class` drops one in.

bags: rows that were kept out beside rows scored by the half of the members that has not seen them ("out of bag"; a new
row is scored by all members): the share of fresh Gaussian and ADBench rows with p <= alpha, by number of training rows.
"""

from __future__ import annotations

import argparse
import importlib
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np

from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.decisions import decide
from isthmus.apps.anomaly.detector import AnomalyDetector
from isthmus.errors import DataWarning

MOST_ROWS = 4_000
FDR, ALPHA, SHARE = 0.1, 0.01, 0.05
CLEAN = 500
MANY = 1_000
BATCHES = 20


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
        if chosen == "all" or f"gauss{d}" in chosen.split(","):
            yield f"gauss{d}", *standardised(rng.normal(size=(MOST_ROWS, d)) @ turn, other)
    for file in sorted((datasets.DATA / "adbench").glob("*.npz")):
        if chosen == "all" or file.stem in chosen.split(","):
            with np.load(file) as data:
                X, y = data["X"].astype(np.float64), data["y"].ravel()
            rows = np.random.default_rng(0).permutation(np.flatnonzero(y == 0))[:MOST_ROWS]
            yield file.stem, *standardised(X[rows], X[y == 1])


def tables(chosen: str) -> Iterator[tuple[str, Any]]:
    """Yield name and rows of tables of numbers and categories."""
    import pandas as pd

    files = {"adult": ("adult/adult.data", {"header": None}), "diamonds": ("seaborn_tables/diamonds.csv", {})}
    for name, (path, options) in files.items():
        if chosen == "all" or name in chosen.split(","):
            frame = pd.read_csv(datasets.DATA / path, skipinitialspace=True, na_values="?", **options)
            yield name, frame.rename(columns=str).sample(MOST_ROWS, random_state=0)


def standardised(normal: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in the units of the normal rows; a constant column keeps its own."""
    mean, std = normal.mean(0), normal.std(0)
    std[std == 0] = 1
    return (normal - mean) / std, (odd - mean) / std


def five(X: Any, rng: np.random.Generator) -> Any:
    """Add five standard deviations, up or down, to two columns of numbers of each row; arrays have a deviation of 1."""
    if hasattr(X, "iloc"):
        numbers = X.select_dtypes("number").columns
        mean, deviation = X[numbers].mean(), X[numbers].std()
        moved = five(((X[numbers] - mean) / deviation).to_numpy(), rng) * deviation.to_numpy() + mean.to_numpy()
        return X.assign(**dict(zip(numbers, moved.T, strict=True)))
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
    """Print one row for each scorer, kind of anomaly and contamination of the training rows."""
    totals: dict[Any, list[np.ndarray]] = defaultdict(list)
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
                    dirty = rng.permutation(np.concatenate([train, mixed]))
                    for label in names:
                        known, of = calibrated(scorer(label), dirty, members, rng)
                        again = np.random.default_rng(seed)
                        totals[label, f"{dirt:.0%}", kind].append(
                            judged(Calibration(known), of(fresh), of(odd), SHARE, again)
                        )
        print(f"({name}: {len(normal)} normal rows)", flush=True)
    show(totals)


def detector(chosen: str, seeds: int, share: float) -> None:
    """Print one row for each way to fit and calibrate the detector and kind of anomaly."""
    totals: dict[Any, list[np.ndarray]] = defaultdict(list)
    started = time.process_time()
    for name, normal, others in (*sets(chosen), *((name, rows, None) for name, rows in tables(chosen))):
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(normal))
            train, fresh = (some(normal, half) for half in np.array_split(order, 2))
            odd = {"five": five(fresh, rng)}
            odd |= {"swap": swapped(fresh, rng)} if others is None else {"class": others}
            dirt = some(train, rng.permutation(len(train))[: round(SHARE / (1 - SHARE) * len(train))])
            dirty = both(train, five(dirt, rng))
            for label, rows, novelty in (
                ("novelty", train, True),
                ("default", train, False),
                ("5 % dirt", dirty, False),
            ):
                made = AnomalyDetector(novelty=novelty, random_state=seed).fit(rows)
                of_fresh = made.anomaly_score(fresh)
                clean = min(CLEAN, len(fresh) // 3)
                for kind, which in odd.items():
                    if label == "5 % dirt" and kind != "five":
                        continue
                    of_odd = made.anomaly_score(which)
                    found = judged(made.calibration_, of_fresh, of_odd, share, np.random.default_rng(seed))
                    totals[label, "", kind].append(found)
                    totals[label, "many" if len(made.calibration_.scores) >= MANY else "few", kind].append(found)
                    totals[label, "each", f"{kind} {name}"].append(found)
                    if label == "5 % dirt":
                        again = Calibration(of_fresh[:clean])
                        found = judged(again, of_fresh[clean:], of_odd, share, np.random.default_rng(seed))
                        totals[label, "recalibrated", kind].append(found)
        print(f"({name}: {len(normal)} normal rows, {time.process_time() - started:.0f} s of CPU so far)", flush=True)
    show(totals)


def show(totals: dict[Any, list[np.ndarray]]) -> None:
    """Print sums and means of what :func:`judged` returned."""
    print(
        f"{'':44}     n  false alarms at .01 (of rows)  at .01: recall  recall/best    FDR  recall   best  recall/best"
        "   smoothed: FDR  recall/best   fixed: found    FDR  recall/best"
    )
    for names, numbers in totals.items():
        size, false, rows, at, best_at, *batches = np.sum(numbers, 0)
        fdp, recall, smooth_fdp, smooth_recall, best, found, *fixed = batches
        n = len(numbers)
        print(
            f"{' '.join(names):44} {size / n:5.0f}  {false / rows:19.4f} ({rows:7.0f})  {at / n:14.2f}  "
            f"{ratio(at, best_at):11.2f}  {fdp / n:5.3f}  {recall / n:6.2f}  {best / n:5.2f}  {ratio(recall, best):11.2f}   "
            f"{smooth_fdp / n:13.3f}  {ratio(smooth_recall, best):11.2f}   {found / n:12.2f}  {ratio(fixed[0], found):5.3f}  "
            f"{ratio(*fixed[1:]):11.2f}"
        )


def ratio(part: float, whole: float) -> float:
    """Return one over the other; of nothing there is none."""
    return part / whole if whole else math.nan


def some(rows: Any, which: np.ndarray) -> Any:
    """Return these rows of an array or a frame."""
    return rows.iloc[which] if hasattr(rows, "iloc") else rows[which]


def both(rows: Any, more: Any) -> Any:
    """Return both, one after the other."""
    if not hasattr(rows, "iloc"):
        return np.concatenate([rows, more])
    import pandas as pd

    return pd.concat([rows, more])


def swapped(frame: Any, rng: np.random.Generator) -> Any:
    """Put another category, any that occurs, into one cell of each row."""
    frame = frame.reset_index(drop=True)
    columns = frame.select_dtypes(exclude="number").columns
    which = rng.integers(len(columns), size=len(frame))
    for place, column in enumerate(columns):
        values = frame[column].dropna().unique()
        for row in np.flatnonzero(which == place):
            others = values[values != frame.loc[row, column]]
            frame.loc[row, column] = others[rng.integers(len(others))]
    return frame


def calibrated(
    make: Callable[[], Any], train: np.ndarray, members: int, rng: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return scores of the first rows, which the scorer was not fitted on, and the scorer: of the rest, or of bags."""
    if members:
        return bagged(make, train, members, rng)
    third = len(train) // 3
    made = make().fit(train[third:])
    return made.score(train[:third]), made.score


def judged(made: Calibration, fresh: np.ndarray, odd: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return what the columns of :func:`show` are made of, from the scores of fresh rows and of anomalies."""
    false, at = (made.p_values(fresh) <= ALPHA).sum(), (made.p_values(odd) <= ALPHA).mean()
    best_at = (odd > np.sort(fresh)[::-1][int(ALPHA * len(fresh))]).mean()
    batches = np.mean([of_batch(made, fresh, odd, share, rng) for _ in range(BATCHES)], 0)
    return np.array([len(made.scores), false, len(fresh), at, best_at, *batches])


def of_batch(
    made: Calibration, fresh: np.ndarray, odd: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Return FDP and recall of a random batch, the same smoothed, the best recall, and what the cut of a first batch does."""
    batches = []
    for rows, few in zip(halves(fresh, rng), halves(odd, rng), strict=True):
        rows, few = rows[:950], few[: max(round(share / (1 - share) * min(len(rows), 950)), 1)]
        batches.append((np.concatenate([rows, few]), np.arange(len(rows) + len(few)) >= len(rows)))
    (first, _), (batch, truth) = batches
    best = best_recall(batch, truth)
    cut = decide(made, "fdr", fdr=FDR, alpha=ALPHA, batch=first)
    fixed = np.array([1, *discoveries(cut.flags(batch), truth), best]) * (cut.rule == "fdr")
    plain, smoothed = (discoveries(made.detect(batch, FDR, with_), truth) for with_ in (None, rng))
    return np.array([*plain, *smoothed, best, *fixed])


def halves(scores: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return two random halves."""
    return np.array_split(rng.permutation(scores), 2)


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
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("detector", "rates", "bags"), default="detector")
    parser.add_argument("--members", type=int, default=0, help="calibrate out of bag, with so many members")
    parser.add_argument("--sets", default="all", help="all, or some names")
    parser.add_argument("--share", type=float, default=SHARE, help="of anomalies in a batch of the detector's part")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)  # small sets cannot show .01; that is part of what is measured
    names = options.scorers.split(",")
    if options.part == "detector":
        detector(options.sets, options.seeds, options.share)
    elif options.part == "rates":
        rates(names, options.sets, options.seeds, options.members)
    else:
        bags(names, options.sets, options.seeds)


if __name__ == "__main__":
    main()
