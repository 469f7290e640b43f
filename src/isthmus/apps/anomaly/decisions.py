"""Where to cut: rules that make one score of a calibration, once, so that no row's verdict hangs on its neighbours."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from isthmus.apps.anomaly.calibration import Calibration, check_share, finite
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
    """The expected share of rows like those of the calibration that score above."""
    flagged: float
    """The share of the batch that scores above; without a batch, of the calibration rows."""
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
    batch: np.ndarray | None = None,
) -> Cut:
    """Fix the cut by a rule, or at a number; ``batch`` (m,) are the scores of unlabelled rows such as will be judged.

    * ``"fdr"``: Benjamini-Hochberg flags a share r of the batch, so that at most a share ``fdr`` of these is expected to be
      normal; the cut is where p = fdr * r, the same for every later row. Later rows with fewer anomalies among them have a
      larger share of false ones among the flagged (``Calibration.detect`` cuts batch by batch). Without a batch - the
      calibration rows held against themselves have every rank once and show nothing, whatever they are - or where
      nothing in it stands out, no cut could keep the promise, and the rule is ``"alpha"``.
    * ``"alpha"``: of rows like those of the calibration, the share ``alpha`` is flagged, at most.
    * ``"contamination"``: that share of the batch is flagged, at most; without a batch, of the calibration rows.
    """
    if isinstance(threshold, (int, float)) and not isinstance(threshold, bool):
        if not math.isfinite(threshold):
            raise SettingError(
                f"threshold={threshold} must be a finite score, or one of 'fdr', 'alpha', 'contamination'."
            )
        found = float(threshold), "number", f"A score above {threshold:g} is flagged, as was asked for."
    elif threshold == "fdr":
        found = _by_fdr(calibration, fdr, alpha, batch)
    elif threshold == "alpha":
        said = "At most {} of rows like those of the calibration are flagged."
        found = _by_alpha(calibration, alpha, said)
    elif threshold == "contamination":
        found = _by_contamination(calibration.scores if batch is None else np.sort(finite(batch)), contamination)
    else:
        raise SettingError(
            f"threshold={threshold!r} is not known; use one of {', '.join(get_args(Rule))}, or a number."
        )
    score, rule, sentence = found
    among = calibration.scores if batch is None else finite(batch)
    return Cut(score, rule, float(calibration.false_alarm_rate(score)), float((among > score).mean()), sentence)


def _by_fdr(calibration: Calibration, fdr: float, alpha: float, batch: np.ndarray | None) -> tuple[float, str, str]:
    check_share("fdr", fdr)
    found = 0.0 if batch is None else float(calibration.detect(batch, fdr).mean())
    if found:
        said = (
            f"{percent(found)} of the batch stand out; in data like it at most about {percent(fdr)} of what is flagged is "
            "expected to be flagged wrongly."
        )
        return calibration.score_at(fdr * found), "fdr", said
    if batch is None:
        why = "No rows but those of the calibration, which count as normal, were given"
    else:
        why = "Nothing in the batch stands out"
    said = (
        f"{why}, so that no share of wrong ones among the flagged can be promised: instead, at most {{}} of rows like those of "
        "the calibration are flagged."
    )
    return _by_alpha(calibration, alpha, said)


def _by_alpha(calibration: Calibration, alpha: float, said: str) -> tuple[float, str, str]:
    check_share("alpha", alpha)
    n, smallest = len(calibration.scores), calibration.smallest_p
    if alpha < smallest:
        _warn(f"alpha={alpha:g} is less than {smallest:.2g}, the least that {n} calibration rows can show", n)
    return calibration.score_at(alpha), "alpha", said.format(percent(max(alpha, smallest)))


def _by_contamination(scores: np.ndarray, contamination: float | None) -> tuple[float, str, str]:
    """Cut between the ordered ``scores`` (n,)."""
    if contamination is None:
        raise SettingError("threshold='contamination' needs contamination=, the share of the rows to flag.")
    check_share("contamination", contamination)
    n = len(scores)
    count = math.floor(contamination * n * (1 + 1e-12))
    if not count:
        _warn(f"contamination={contamination:g} of {n} rows is less than one row", n)
    said = f"The oddest {percent(contamination)} of the rows are flagged, normal or not."
    return float(scores[n - 1 - count]), "contamination", said


def _warn(what: str, rows: int) -> None:
    warnings.warn(
        f"{what}: a row is flagged only above every one of the {rows} scores; give more rows.",
        DataWarning,
        stacklevel=5,
    )


@dataclass(frozen=True, eq=False)
class OperatingCurve:
    """What every cut costs and flags, from the strictest to the laxest: n arrays of equal length."""

    cuts: np.ndarray
    """(n,) scores, falling."""
    false_alarm_rate: np.ndarray
    """(n,) the expected share of rows like those of the calibration above each."""
    flagged: np.ndarray
    """(n,) the share of the batch above each; without a batch, of the calibration rows."""
    chosen: Cut | None = None
    """The cut in use."""

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        chosen: Cut | None = None,
        batch: np.ndarray | None = None,
        points: int = 50,
    ) -> OperatingCurve:
        """Take cuts whose false-alarm rates lie evenly, as powers, between the smallest p-value and a half."""
        rates = np.geomspace(min(calibration.smallest_p, 0.5), 0.5, points)
        cuts = np.unique([calibration.score_at(rate) for rate in rates])[::-1]
        among = calibration.scores if batch is None else np.sort(finite(batch))
        flagged = 1 - np.searchsorted(among, cuts, side="right") / len(among)
        return cls(cuts, calibration.false_alarm_rate(cuts), flagged, chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain({**vars(self), "chosen": self.chosen and self.chosen.to_dict()})
