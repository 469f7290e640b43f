"""What scores mean: p-values from the scores of rows a detector has not been fitted on.

A score is one number a row, higher = odder; who computed it does not matter here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError, SettingError


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of n rows the detector has not been fitted on, against which new scores are held.

    A normal row is exchangeable with normal calibration rows, so its rank among them is uniform and

        p(s) = (1 + #{calibration >= s}) / (n + 1)        P(p <= a) <= a for every a, ties included

    (Vovk 2005; Bates 2023, who show that Benjamini-Hochberg on such p-values keeps the false discovery rate).
    Anomalies among the calibration rows only make p larger: nothing is flagged wrongly, and soon nothing at all (with a
    share of 5 % of them that are as odd as a row, its p is at least .05). No p is below 1 / (n + 1), so that k anomalies in
    a batch of m rows can be found at a false discovery rate q only by n >= m / (q k) rows. Given a generator, the p-value is

        p(s) = (#{calibration > s} + U (1 + #{calibration = s})) / (n + 1)        U uniform on (0, 1), for each row its own

    the smoothed p-value (Vovk 2005): P(p <= a) = a. Benjamini-Hochberg at q then keeps q m0 / m for m rows of which m0 are
    normal: given its own rank, the ranks of other rows rise with it, and their U know nothing of it. More is found where
    rows are few; among rows of one rank chance chooses.

    To recalibrate a detector, make a Calibration of its scores on new rows; nothing is trained again.

    >>> Calibration(np.arange(1.0, 10.0)).p_values(np.array([0.0, 9.0, 99.0])).tolist()
    [1.0, 0.2, 0.1]
    """

    scores: np.ndarray
    """(n,) float64, sorted: all that has to be saved."""

    def __post_init__(self) -> None:
        scores = np.sort(finite(self.scores))
        if not len(scores):
            raise DataError("No calibration scores were given; keep some rows out of the fit and score those.")
        object.__setattr__(self, "scores", scores)

    @property
    def smallest_p(self) -> float:
        """The p-value of a row that is odder than every one of the calibration."""
        return 1 / self._ranks

    @property
    def _ranks(self) -> int:
        return len(self.scores) + 1

    def p_values(self, scores: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return (m,) how probable a score as high as each is for a normal row; with ``rng`` smoothed."""
        at_least = len(self.scores) - np.searchsorted(self.scores, finite(scores), side="left")
        if rng is None:
            return (1 + at_least) / self._ranks
        above = len(self.scores) - np.searchsorted(self.scores, scores, side="right")
        return (above + rng.uniform(size=len(above)) * (1 + at_least - above)) / self._ranks

    def score_at(self, p: float) -> float:
        """Return the score above which, and only above which, rows have a p-value of at most ``p``.

        Where no row can have one (``p < smallest_p``), it is the highest score: the strictest cut there is data for.
        """
        allowed = math.floor(p * self._ranks * (1 + 1e-12)) - 1  # scores that may lie above
        if allowed >= len(self.scores):
            return -math.inf
        return float(self.scores[len(self.scores) - 1 - max(allowed, 0)])

    def false_alarm_rate(self, cut: np.ndarray | float) -> np.ndarray:
        """Return the expected share of normal rows that score above each cut."""
        above = len(self.scores) - np.searchsorted(self.scores, cut, side="right")
        return (1 + above) / self._ranks

    def detect(self, scores: np.ndarray, fdr: float = 0.05, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return (m,) which rows of this batch to flag so that at most a share ``fdr`` of them is flagged wrongly.

        What is flagged depends on the whole batch: the more anomalies it holds, the laxer the cut. With ``rng`` p-values
        are smoothed.
        """
        return benjamini_hochberg(self.p_values(scores, rng), fdr)


def benjamini_hochberg(p: np.ndarray, fdr: float) -> np.ndarray:
    """Return (m,) which hypotheses to reject: p <= fdr k / m, with the largest k that so many reach (Benjamini 1995)."""
    check_share("fdr", fdr)
    ordered = np.sort(p)
    reached = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / max(len(p), 1))
    return p <= ordered[reached[-1]] if len(reached) else np.zeros(len(p), bool)


def finite(scores: np.ndarray) -> np.ndarray:
    """Return scores as float64 (n,), or say that they are none."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise DataError(f"Scores are one number a row, (n,), but these are {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"The score of row {row} is {values[row]}; a score must be a finite number to be ranked.")
    return values


def check_share(name: str, value: float) -> None:
    """Say what is wrong with a share that is not strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise SettingError(f"{name}={value!r} must be a share between 0 and 1, such as 0.05.")
