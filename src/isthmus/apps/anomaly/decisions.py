"""Where to cut: rules that make one score of a calibration, at fit, so that no row's verdict hangs on its neighbours."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from isthmus.apps.anomaly.calibration import Calibration, benjamini_hochberg, check_share, finite
from isthmus.apps.words import percent, plain
from isthmus.errors import DataWarning, SettingError

Rule = Literal["fdr", "alpha", "contamination"]


@dataclass(frozen=True)
class Cut:
    """A row is flagged where its score lies above ``score``; what that costs is stated beside it."""

    score: float
    rule: str
    """"fdr", "alpha", "contamination" or "number"."""
    false_alarm_rate: float
    """The expected share of normal rows that score above."""
    flagged: float
    """The share of the calibration rows that score above."""
    sentence: str
    """The rule in words, with its numbers."""

    def flags(self, scores: np.ndarray) -> np.ndarray:
        """Return (m,) which rows score above."""
        return finite(scores) > self.score

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain(vars(self))


def decide(
    calibration: Calibration,
    threshold: Rule | float = "fdr",
    fdr: float = 0.05,
    alpha: float = 0.01,
    contamination: float | None = None,
) -> Cut:
    """Fix the cut by a rule, or at a number.

    * ``"fdr"``: Benjamini-Hochberg flags a share r of the calibration rows by their own p-values, so that at most a share
      ``fdr`` of these is expected to be normal; the cut is where p = fdr * r, the same for every later batch. Batches with
      fewer anomalies than that have a larger share of false ones among the flagged (``Calibration.detect`` cuts batch
      by batch). Where nothing is flagged - clean rows, or anomalies that do not stand apart - no cut could keep the
      promise, and the rule is ``"alpha"``.
    * ``"alpha"``: the share ``alpha`` of normal rows is flagged, at most.
    * ``"contamination"``: that share of the calibration rows is flagged, at most.
    """
    if isinstance(threshold, (int, float)) and not isinstance(threshold, bool):
        if not math.isfinite(threshold):
            raise SettingError(
                f"threshold={threshold} must be a finite score, or one of 'fdr', 'alpha', 'contamination'."
            )
        return _cut(
            calibration, float(threshold), "number", f"A score above {threshold:g} is flagged, as was asked for."
        )
    if threshold == "fdr":
        return _by_fdr(calibration, fdr, alpha)
    if threshold == "alpha":
        check_share("alpha", alpha)
        said = f"A score above that of all but {percent(alpha)} of normal rows is flagged."
        return _cut(calibration, _score_at(calibration, alpha), "alpha", said)
    if threshold == "contamination":
        return _by_contamination(calibration, contamination)
    raise SettingError(f"threshold={threshold!r} is not known; use one of {', '.join(get_args(Rule))}, or a number.")


def _by_fdr(calibration: Calibration, fdr: float, alpha: float) -> Cut:
    found = float(benjamini_hochberg(calibration.p_values(calibration.scores), fdr).mean())
    if found:
        said = (
            f"{percent(found)} of the training rows stand out; in data like them about {percent(fdr)} of what is "
            "flagged is expected to be flagged wrongly."
        )
        return _cut(calibration, calibration.score_at(fdr * found), "fdr", said)
    check_share("alpha", alpha)
    seen = "count as normal" if calibration.null == "plain" else "show no anomalies that stand apart"
    said = (
        f"The training rows {seen}, so that a share of wrong ones among the flagged cannot be promised: instead, at most "
        f"{percent(alpha)} of normal rows are flagged."
    )
    return _cut(calibration, _score_at(calibration, alpha), "alpha", said)


def _by_contamination(calibration: Calibration, contamination: float | None) -> Cut:
    if contamination is None:
        raise SettingError("threshold='contamination' needs contamination=, the share of training rows to flag.")
    check_share("contamination", contamination)
    n = len(calibration.scores)
    count = math.floor(contamination * n * (1 + 1e-12))
    if not count:
        _warn(f"contamination={contamination:g} of {n} rows is less than one row", n)
    said = f"The oddest {percent(contamination)} of the training rows are flagged, normal or not."
    return _cut(calibration, float(calibration.scores[n - 1 - count]), "contamination", said)


def _score_at(calibration: Calibration, alpha: float) -> float:
    smallest = calibration.smallest_p
    if alpha < smallest:
        n = len(calibration.scores)
        _warn(f"alpha={alpha:g} is less than {smallest:.2g}, the least that {n} calibration rows can show", n)
    return calibration.score_at(alpha)


def _warn(what: str, rows: int) -> None:
    warnings.warn(
        f"{what}: a row is flagged only above every one of the {rows} scores that count as normal; give more rows.",
        DataWarning,
        stacklevel=4,
    )


def _cut(calibration: Calibration, score: float, rule: str, sentence: str) -> Cut:
    rate, flagged = float(calibration.false_alarm_rate(score)), float(calibration.share_above(score))
    return Cut(score, rule, rate, flagged, sentence)


@dataclass(frozen=True, eq=False)
class OperatingCurve:
    """What every cut costs and flags, from the strictest to the laxest: n arrays of equal length."""

    cuts: np.ndarray
    """(n,) scores, falling."""
    false_alarm_rate: np.ndarray
    """(n,) the expected share of normal rows above each."""
    flagged: np.ndarray
    """(n,) the share of the calibration rows above each."""
    chosen: Cut | None = None
    """The cut in use."""

    @classmethod
    def of(cls, calibration: Calibration, chosen: Cut | None = None, points: int = 50) -> OperatingCurve:
        """Take cuts whose false-alarm rates lie evenly, as powers, between the smallest p-value and a half."""
        rates = np.geomspace(min(calibration.smallest_p, 0.5), 0.5, points)
        cuts = np.unique([calibration.score_at(rate) for rate in rates])[::-1]
        return cls(cuts, calibration.false_alarm_rate(cuts), calibration.share_above(cuts), chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain({**vars(self), "chosen": self.chosen and self.chosen.to_dict()})
