"""Faults in series: strange heartbeats (ECG5000), and four kinds of injected faults in hourly measurements (ETTh1).

    python benchmarks/faults.py [--detectors isthmus,IForest,PCA,AE,z-score,level] [--seeds 3] [--again isthmus]

**Heartbeats.** Of the training file of ECG5000 (500 beats of 140 points, class 1 is normal) half of class 1 is learned from;
the other half and all other classes are scored: AUROC and AP. The seed draws the halves.

**Measurements.** ETTh1, 17,420 hours of 7 channels: the first half is learned from, the next tenth sets a threshold, and in the
last two fifths (41 weeks) the seed injects 32 events, eight of each kind, at least 72 hours apart. Channel, time and sign are
drawn uniformly, sigma is the channel's standard deviation in the part that was learned from:

* spike: one hour is moved by U(3, 6) sigma. * shift: 12 to 48 hours are moved by U(1.5, 3) sigma.
* frozen: 12 to 48 hours repeat the value before. * swapped: two channels, in their own units, change places for 12 to 48 hours.

Detectors see windows of a day and give every hour one score. An event is found when an hour within it is above the threshold;
no other hour counts for it (no point adjustment). A false alarm is repeated every day while it lasts; hours within a day of an
event are neither hit nor false. "at 1 a week": recall at the lowest threshold that gives at most one false alarm a week on
this series. "own threshold": the one that gives one false alarm a week on the tenth, which the detector has not learned from:
the recall, and how many false alarms a week it really gave. Always beside "random" and "level": long events flatter everybody.
"""

from __future__ import annotations

import argparse
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import rivals
from rivals import Ledger
from sklearn.metrics import average_precision_score, roc_auc_score

DAY, WEEK, APART, EACH = 24, 168, 72, 8
KINDS = ("spike", "shift", "frozen", "swapped")

Score = Callable[[np.ndarray], np.ndarray]
"""Beats (n, 140) -> (n,), or a series (T, channels) -> one number an hour (T,): higher is odder."""


class Event(NamedTuple):
    """A fault in the hours [start, stop)."""

    kind: str
    start: int
    stop: int


def beats(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return normal heartbeats to learn from, beats to score, and which of these are strange."""
    table = np.loadtxt(datasets.DATA / "ucr/ECG5000_TRAIN.txt")
    normal = table[:, 0] == 1
    order = np.random.default_rng(seed).permutation(np.flatnonzero(normal))
    learned, rest = np.array_split(order, 2)
    scored = np.concatenate([rest, np.flatnonzero(~normal)])
    return table[learned, 1:], table[scored, 1:], ~normal[scored]


def hours() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the measurements to learn from, to set a threshold on, and to put faults into: (T, 7) each."""
    series = np.genfromtxt(datasets.DATA / "ett/ETTh1.csv", delimiter=",", skip_header=1)[:, 1:]
    first, second = len(series) // 2, len(series) * 6 // 10
    return series[:first], series[first:second], series[second:]


def inject(series: np.ndarray, sigma: np.ndarray, seed: int) -> tuple[np.ndarray, list[Event]]:
    """Return the series with its faults, and where they are."""
    rng = np.random.default_rng(seed)
    faulty = series.copy()
    kinds = rng.permutation(np.repeat(KINDS, EACH)).tolist()
    lengths = [1 if kind == "spike" else int(rng.integers(12, 49)) for kind in kinds]
    free = len(series) - sum(lengths) - (len(kinds) + 1) * APART
    gaps = np.diff(np.sort(rng.integers(0, free + 1, len(kinds))), prepend=0)  # what is left over, cut at random places
    events, place = [], 0
    for kind, length, gap in zip(kinds, lengths, gaps.tolist(), strict=True):
        start = place + APART + gap
        place = start + length
        one, other = rng.permutation(series.shape[1])[:2]
        size = rng.choice([-1, 1]) * sigma[one]
        part = slice(start, place)
        if kind == "spike":
            faulty[part, one] += rng.uniform(3, 6) * size
        elif kind == "shift":
            faulty[part, one] += rng.uniform(1.5, 3) * size
        elif kind == "frozen":
            faulty[part, one] = series[start - 1, one]
        else:
            faulty[part, [one, other]] = series[part, [other, one]]
        events.append(Event(kind, start, place))
    return faulty, events


def per_point(scores: np.ndarray, length: int) -> np.ndarray:
    """Return for every point the mean score of the windows of ``length`` points that cover it; one starts at every point."""
    sums = np.convolve(scores, np.ones(length))
    return sums / np.convolve(np.ones(len(scores)), np.ones(length))


def windowed(fit: Callable[[np.ndarray], Score], train: np.ndarray, length: int) -> Score:
    """Return a detector of rows as one of points: it sees windows of standardised channels."""
    mean, deviation = train.mean(0), train.std(0)

    def windows(series: np.ndarray) -> np.ndarray:
        cut = np.lib.stride_tricks.sliding_window_view((series - mean) / deviation, length, axis=0)
        return cut.reshape(len(cut), -1)

    score = fit(windows(train))
    return lambda series: per_point(score(windows(series)), length)


def forest(X: np.ndarray, seed: int) -> Score:
    """Isolation Forest as scikit-learn has it, whose defaults are pyod's."""
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(random_state=seed).fit(X)
    return lambda rows: -model.score_samples(rows)


def principal(X: np.ndarray, seed: int) -> Score:
    """Squared error of what the components with 90 % of the variance leave."""
    from sklearn.decomposition import PCA

    model = PCA(0.9, svd_solver="full").fit(X)
    return lambda rows: ((model.inverse_transform(model.transform(rows)) - rows) ** 2).sum(1)


def autoencoder(X: np.ndarray, seed: int) -> Score:
    """pyod's autoencoder with its defaults."""
    (rival,) = rivals.rivals("AE")
    model = rival.make(X.shape[1], seed)
    model.fit(X)
    return lambda rows: rivals.oddness(model, rows)


def moving_z(series: np.ndarray) -> np.ndarray:
    """Return the largest |z| over the channels, by mean and deviation of the week before each hour."""
    padded = np.concatenate([np.repeat(series[:1], WEEK, axis=0), series])
    before = np.lib.stride_tricks.sliding_window_view(padded[:-1], WEEK, axis=0)
    deviation = before.std(-1)
    least = 0.05 * series.std(0)  # right after the start and in calm weeks everything would be strange
    return (abs(series - before.mean(-1)) / np.maximum(deviation, least)).max(1)


def isthmus_rows(X: np.ndarray, seed: int) -> Score:
    """Our detector on beats."""
    import isthmus as ist

    def beats_of(rows: np.ndarray) -> Any:  # laid end to end, a window is a beat
        return ist.Series(rows.reshape(-1, 1), length=rows.shape[1], step=rows.shape[1])

    detector: Any = ist.AnomalyDetector(novelty=True, random_state=seed).fit(beats_of(X))
    return lambda rows: rivals.oddness(detector, beats_of(rows))


def isthmus_points(train: np.ndarray, seed: int, novelty: bool = True) -> Score:
    """Our detector on a series; what it learns from holds no faults."""
    import isthmus as ist

    detector: Any = ist.AnomalyDetector(novelty=novelty, random_state=seed).fit(ist.Series(train, length=DAY))
    return lambda series: detector.point_scores(ist.Series(series, length=DAY)).scores


def _random(train: np.ndarray, seed: int) -> Score:
    rng = np.random.default_rng(seed + 1_000)
    return lambda rows: rng.random(len(rows))


def _level(train: np.ndarray, seed: int) -> Score:
    middle, deviation = np.median(train, axis=0), train.std(0)
    return lambda rows: (abs(rows - middle) / deviation).max(1)


ON_BEATS: dict[str, Callable[[np.ndarray, int], Score]] = {
    rivals.OURS: isthmus_rows,
    "IForest": forest,
    "PCA": principal,
    "AE": autoencoder,
    "level": _level,
    "random": _random,
}
ON_HOURS: dict[str, Callable[[np.ndarray, int], Score]] = {
    rivals.OURS: isthmus_points,
    "IForest": lambda train, seed: windowed(partial(forest, seed=seed), train, DAY),
    "PCA": lambda train, seed: windowed(partial(principal, seed=seed), train, DAY),
    "AE": lambda train, seed: windowed(partial(autoencoder, seed=seed), train, DAY),
    "z-score": lambda train, seed: moving_z,
    "level": _level,
    "random": _random,
}


def false_alarms(scores: np.ndarray, near: np.ndarray, threshold: float) -> int:
    """Return how many false alarms there are above a threshold; ``near`` are the hours that cannot be false."""
    at, count, place = np.flatnonzero((scores > threshold) & ~near), 0, 0
    while place < len(at):
        count, place = count + 1, int(np.searchsorted(at, at[place] + DAY))
    return count


def threshold_for(scores: np.ndarray, near: np.ndarray) -> float:
    """Return the lowest threshold that gives at most one false alarm a week; their number falls as it rises."""
    allowed, candidates = (~near).sum() / WEEK, np.unique(scores[~near])
    return float(candidates[bisect_left(candidates, True, key=lambda t: false_alarms(scores, near, t) <= allowed)])


def recalls(scores: np.ndarray, events: Sequence[Event], threshold: float) -> dict[str, float]:
    """Return the share of the events that are found, of all and of each kind."""
    found = {kind: [scores[e.start : e.stop].max() > threshold for e in events if e.kind == kind] for kind in KINDS}
    return {"all": float(np.mean(list(found.values())))} | {kind: float(np.mean(hit)) for kind, hit in found.items()}


def _warm_up(label: str) -> None:
    """Import and compile what takes its time before it is measured."""
    if label in (rivals.OURS, "AE"):
        rivals.warm_up(*rivals.rivals(label))


def judge_hours(label: str, seed: int) -> dict[str, Any]:
    """Learn from the first half, score the others."""
    _warm_up(label)
    train, calm, rest = hours()
    faulty, events = inject(rest, train.std(0), seed)
    started = time.process_time()
    score = ON_HOURS[label](train, seed)
    fitted = time.process_time()
    before, scores = score(calm), score(faulty)
    ended = time.process_time()
    odd, near = np.zeros(len(faulty), bool), np.zeros(len(faulty), bool)
    for event in events:
        odd[event.start : event.stop] = True
        near[event.start - DAY : event.stop + DAY] = True
    matched = recalls(scores, events, threshold_for(scores, near))
    own = threshold_for(before, np.zeros(len(before), bool))
    return {
        "auroc": round(float(roc_auc_score(odd, scores)), 4),
        "ap": round(float(average_precision_score(odd, scores)), 4),
        "recall": {kind: round(share, 4) for kind, share in matched.items()},
        "own": round(recalls(scores, events, own)["all"], 4),
        "own_false": round(false_alarms(scores, near, own) * WEEK / int((~near).sum()), 3),
        "fit": round(fitted - started, 3),
        "score": round(ended - fitted, 3),
    }


def judge_beats(label: str, seed: int) -> dict[str, Any]:
    """Learn from normal heartbeats, score others."""
    _warm_up(label)
    train, test, strange = beats(seed)
    started = time.process_time()
    score = ON_BEATS[label](train, seed)
    fitted = time.process_time()
    scores = score(test)
    return {
        "auroc": round(float(roc_auc_score(strange, scores)), 4),
        "ap": round(float(average_precision_score(strange, scores)), 4),
        "fit": round(fitted - started, 3),
        "score": round(time.process_time() - fitted, 3),
    }


def show(lines: Sequence[dict[str, Any]]) -> None:
    """Print both tables, means over the seeds and, in brackets, the least and the greatest recall."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        found.setdefault((line["set"], line["detector"]), []).append(line)
    print("| heartbeats | AUROC | AP | fit s | score s |\n|---|---|---|---|---|")
    for (name, label), mine in found.items():
        if name == "ECG5000":
            print(
                f"| {label} | {_mean(mine, 'auroc')} | {_mean(mine, 'ap')} | {_mean(mine, 'fit')} | {_mean(mine, 'score')} |"
            )
    columns = ["recall at 1 a week", *KINDS, "AUROC", "AP", "own threshold: recall", "false a week", "fit s", "score s"]
    print("\n| measurements | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for (name, label), mine in found.items():
        if name == "ETTh1":
            every = [line["recall"]["all"] for line in mine]
            recall = [f"{np.mean(every):.2f} ({min(every):.2f}..{max(every):.2f})"]
            recall += [f"{np.mean([line['recall'][kind] for line in mine]):.2f}" for kind in KINDS]
            figures = [_mean(mine, key) for key in ("auroc", "ap", "own", "own_false", "fit", "score")]
            print(f"| {label} | " + " | ".join([*recall, *figures]) + " |")


def _mean(lines: Sequence[dict[str, Any]], key: str) -> str:
    return f"{np.mean([line[key] for line in lines]):.3f}"


def main() -> None:
    """Compute what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default=",".join(ON_HOURS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", default="", help="comma list of detectors whose lines are forgotten")
    parser.add_argument("--out", type=Path, default=Path("faults.jsonl"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ledger, wanted = Ledger(options.out, ("detector", "set", "seed"), options.again), []
    for name, here, judge in (("ECG5000", ON_BEATS, judge_beats), ("ETTh1", ON_HOURS, judge_hours)):
        for label in options.detectors.split(","):
            for seed in range(options.seeds if label in here else 0):
                wanted.append(ledger.once(partial(judge, label, seed), detector=label, set=name, seed=seed))
    show(wanted)


if __name__ == "__main__":
    main()
