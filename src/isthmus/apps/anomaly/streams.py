"""Rows that keep coming: learning on from them, and asking whether they are still like those learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.frequencies import Frequencies, one_a_column
from isthmus.apps.anomaly.given import CodeDistance
from isthmus.apps.anomaly.judge import Judge
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.apps.words import plain
from isthmus.data.rows import Rows

RECENT = 10_000
"""Scores that calibrate a stream: old ones leave at random when new ones come, so that their ages fall off exponentially."""
REFERENCE = 2_000
"""Training rows that are kept for comparison."""
COMPARED = 10_000
"""Of more new rows than these, evenly spread ones are compared, column by column."""


# -- learning on -----------------------------------------------------------------------------------------------------


def renewed(old: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return calibration scores after a batch: all of both, or where they are too many, each new one for a random old one.

    Biased reservoir sampling (Aggarwal 2006): at most as many as there were, or ``RECENT``.
    """
    most = max(len(old), RECENT)
    new = new[-most:]
    stay = min(len(old), most - len(new))
    return np.concatenate([old[rng.permutation(len(old))[:stay]], new])


def learn_on(judge: Judge, rows: Rows, before: int, rng: np.random.Generator) -> None:
    """Let normal rows into the samples that distances are measured to, and into the counts of values.

    ``before`` rows came earlier. After each batch the rows of a sample are a random choice of all rows so far (Vitter 1985).
    Autoencoders, their scales and all tails stay as they were fitted.
    """
    for head in judge.heads.values():
        if isinstance(head, Frequencies):
            head.count(rows)
        elif isinstance(head, Neighbours):
            _exchange(head, rows, before, rng)
        elif isinstance(head, CodeDistance):
            _exchange(head.neighbours, head.codes(rows), before, rng)


def _exchange(head: Neighbours, rows: Rows, before: int, rng: np.random.Generator) -> None:
    number, size = head.samples.shape[:2]
    for bag in range(number):
        # algorithm R: row i of all takes a random place among i, and enters where that place lies within the sample
        places = (rng.random(len(rows)) * (before + 1 + np.arange(len(rows)))).astype(np.int64)
        entering = np.flatnonzero(places < size)
        if len(entering):
            x, observed = rows.take(torch.from_numpy(entering))
            known = None if observed is None else observed.flatten(1).numpy()
            head.replace(bag, places[entering], x.flatten(1).numpy(), known)


# -- drift -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moved:
    """How one column differs from the training rows."""

    column: str
    p_value: float
    """Of a two-sample test of its values (Kolmogorov-Smirnov; chi-squared where they are categories) and of its gaps."""
    adjusted: float
    """The p-value after Holm's correction for all tests of the batch."""
    shift: float
    """The new median minus the old one, in standard deviations of the training rows; NaN for categories."""
    gaps: tuple[float, float]
    """The shares of gaps in training and now."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain(vars(self))


@dataclass(frozen=True)
class Drift:
    """Whether rows are still like those a detector has learned from."""

    drifted: bool
    """Is any adjusted p-value at most ``alpha``?"""
    p_value: float
    """The smallest adjusted p-value, of the scores and all columns."""
    alpha: float
    """The probability of a false alarm for a batch of rows like the training rows, at most."""
    scores_p_value: float
    """Of the anomaly scores, adjusted: do their p-values spread evenly over [0, 1]?"""
    columns: tuple[Moved, ...]
    """All columns, those with the smallest p-values first."""
    rows: int
    """How many rows were compared."""
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain(vars(self) | {"columns": [moved.to_dict() for moved in self.columns]})


def comparable(rows: Rows, columns: Columns) -> np.ndarray:
    """Return (n, columns) one number for each column of each row, NaN at gaps; of a channel its mean over the window."""
    if columns.names and not columns.blocks:
        x, observed = rows.take(slice(None))
        values = x.numpy().astype(np.float64)
        seen = np.ones(values.shape, bool) if observed is None else observed.numpy()
        count = seen.sum(1)
        return np.where(count > 0, (values * seen).sum(1) / np.maximum(count, 1), np.nan)
    return one_a_column(rows, columns)


def reference_of(rows: Rows, columns: Columns, rng: np.random.Generator) -> np.ndarray:
    """Return float32 (at most ``REFERENCE``, columns) of training rows, to compare later ones with."""
    apart = _apart(rows)
    if len(apart) > REFERENCE:
        apart = np.sort(rng.choice(apart, REFERENCE, replace=False))
    return comparable(rows.subset(apart), columns).astype(np.float32)


def _apart(rows: Rows) -> np.ndarray:
    """Return the positions of rows that share no points: all, or of windows that overlap the first of each group."""
    return np.arange(0, len(rows), getattr(rows, "overlap", 0) + 1)


def measure_drift(
    reference: np.ndarray, judge: Judge, calibration: Calibration, names: list[str], rows: Rows, alpha: float
) -> Drift:
    """Compare scores and columns of rows with those of training rows, corrected for the number of tests (Holm 1979).

    The p-values of n scores among m calibration scores are ranks, so that they are uniform but depend on each other through
    the calibration; the two-sample Kolmogorov-Smirnov test of the scores takes account of that and is exact.
    """
    chosen = _apart(rows)
    chosen = chosen[:: -(-len(chosen) // COMPARED)]
    rows = rows.subset(chosen)
    new = comparable(rows, judge.columns).astype(np.float32)
    is_numeric = judge.columns.is_numeric
    tests = [_compare(old, now, bool(number)) for old, now, number in zip(reference.T, new.T, is_numeric, strict=True)]
    of_scores = _ks(calibration.scores, judge.score(rows))
    adjusted = holm(np.array([of_scores, *(p for p, _ in tests)]))
    gaps = np.stack([np.isnan(reference).mean(0), np.isnan(new).mean(0)], 1)
    moved = [
        Moved(name, p, float(after), shift, (float(share[0]), float(share[1])))
        for name, (p, shift), after, share in zip(names, tests, adjusted[1:], gaps, strict=True)
    ]
    moved.sort(key=lambda each: each.p_value)
    least = float(adjusted.min())
    said = _sentence(least, alpha, float(adjusted[0]), moved, len(rows))
    return Drift(least <= alpha, least, alpha, float(adjusted[0]), tuple(moved), len(rows), said)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted so that the probability of any false one is bounded (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(scaled)
    return out


def _compare(old: np.ndarray, new: np.ndarray, is_number: bool) -> tuple[float, float]:
    """Return the p-value that two samples of a column are alike, gaps included, and how far the median has moved."""
    missing = [np.isnan(old).sum(), np.isnan(new).sum()]
    gaps_p, shift = 1.0, float("nan")
    if sum(missing):
        table = [[missing[0], len(old) - missing[0]], [missing[1], len(new) - missing[1]]]
        gaps_p = float(fisher_exact(table)[1])
    old, new = old[~np.isnan(old)], new[~np.isnan(new)]
    if not len(old) or not len(new):
        return gaps_p, shift
    if is_number:
        p = _ks(old, new)
        spread = float(old.std()) or 1.0
        shift = float(np.median(new) - np.median(old)) / spread
    else:
        p = _categories(old, new)
    return min(1.0, 2 * min(p, gaps_p)) if sum(missing) else p, shift


def _ks(old: np.ndarray, new: np.ndarray) -> float:
    _, p = ks_2samp(old, new)
    return float(p)


def _categories(old: np.ndarray, new: np.ndarray) -> float:
    values, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    if len(values) < 2:
        return 1.0
    table = np.stack([np.bincount(part, minlength=len(values)) for part in np.split(codes, [len(old)])])
    return float(chi2_contingency(table)[1])


def _sentence(p: float, alpha: float, of_scores: float, moved: list[Moved], rows: int) -> str:
    if p > alpha:
        return f"Nothing says that these {rows:,} rows differ from those learned from (p = {p:.2g})."
    said = [f"These {rows:,} rows differ from those learned from (p = {p:.2g})"]
    worst = [each for each in moved if each.adjusted <= alpha]
    if worst:
        first = worst[0]
        before, now = first.gaps
        if abs(now - before) >= 0.01:
            how = f", with gaps in {now:.1%} of its cells instead of {before:.1%}"
        else:
            how = f", its median by {first.shift:+.2f} standard deviations" if np.isfinite(first.shift) else ""
        others = f", and {len(worst) - 1} more" if len(worst) > 1 else ""
        said.append(f": {first.column} has moved{how}{others}")
    elif of_scores <= alpha:
        said.append(" in how its columns go together: no single one has moved, but the scores have")
    return "".join(said) + ". Fit the detector again if that is how rows are from now on."
