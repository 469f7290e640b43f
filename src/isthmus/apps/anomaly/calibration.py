"""What scores mean: p-values from the scores of rows a detector has not been fitted on.

A score is one number a row, higher = odder; who computed it does not matter here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from isthmus.errors import DataError, SettingError

Null = Literal["plain", "robust"]
MOST_ODD = 0.2
"""At most this share of the calibration rows is taken for anomalies."""
FALSELY_ODD = 0.01
"""The share of normal rows among those set aside that is allowed for (and counted back)."""
FEWEST_ROWS = 50
"""Fewer rows show no tail: none is set aside."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of n rows the detector has not been fitted on, against which new scores are held.

    A normal row is exchangeable with normal calibration rows, so its rank among them is uniform and

        p(s) = (1 + #{calibration >= s}) / (n + 1)        P(p <= a) <= a for every a, ties included

    (Vovk 2005; Bates 2023, who show that Benjamini-Hochberg on such p-values keeps the false discovery rate).
    Anomalies among the calibration rows only make p larger: nothing is flagged wrongly, and soon nothing at all (with a
    share of 5 % no p comes below .05). ``null="robust"`` therefore sets the oddest rows aside, as far as an exponential
    tail cannot explain them (``count_odd``), and counts ``ghosts`` normal rows back at +infinity, as many as that step
    removes wrongly by its own level. This gives up the guarantee for an assumption: normal scores fall off at least
    exponentially beyond the middle. Lengths do on most tables (a distance, a root of summed squares); squares of them do
    not, and columns that are nearly constant in the fit make a second hill of normal rows that looks like anomalies.

    To recalibrate a detector, make a Calibration of its scores on new rows; nothing is trained again.

    >>> Calibration(np.arange(1.0, 10.0)).p_values(np.array([0.0, 9.0, 99.0])).tolist()
    [1.0, 0.2, 0.1]
    """

    scores: np.ndarray
    """(n,) float64, sorted. With ``null``, all that has to be saved."""
    null: Null = "plain"
    kept: np.ndarray = field(init=False, repr=False)
    """(n - odd,) the scores that stand for normal rows, sorted."""
    ghosts: int = field(init=False)
    """Rows counted as normal beyond every kept one."""

    def __post_init__(self) -> None:
        if self.null not in get_args(Null):
            raise SettingError(f"null={self.null!r} is not known; use 'plain' or 'robust'.")
        scores = np.sort(finite(self.scores))
        if not len(scores):
            raise DataError("No calibration scores were given; keep some rows out of the fit and score those.")
        odd = count_odd(scores) if self.null == "robust" else 0
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "kept", scores[: len(scores) - odd])
        object.__setattr__(self, "ghosts", math.ceil(FALSELY_ODD * odd))

    @property
    def odd(self) -> int:
        """How many rows were set aside as anomalies."""
        return len(self.scores) - len(self.kept)

    @property
    def smallest_p(self) -> float:
        """The p-value of a row that is odder than every kept one."""
        return (1 + self.ghosts) / self._ranks

    @property
    def _ranks(self) -> int:
        return len(self.kept) + self.ghosts + 1

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Return (m,) how probable a score as high as each is for a normal row."""
        at_least = len(self.kept) - np.searchsorted(self.kept, finite(scores), side="left")
        return (1 + self.ghosts + at_least) / self._ranks

    def score_at(self, p: float) -> float:
        """Return the score above which, and only above which, rows have a p-value of at most ``p``.

        Where no row can have one (``p < smallest_p``), it is the highest kept score: the strictest cut there is data for.
        """
        allowed = math.floor(p * self._ranks * (1 + 1e-12)) - 1 - self.ghosts  # kept scores that may lie above
        if allowed >= len(self.kept):
            return -math.inf
        return float(self.kept[len(self.kept) - 1 - max(allowed, 0)])

    def false_alarm_rate(self, cut: np.ndarray | float) -> np.ndarray:
        """Return the expected share of normal rows that score above each cut."""
        above = len(self.kept) - np.searchsorted(self.kept, cut, side="right")
        return (1 + self.ghosts + above) / self._ranks

    def share_above(self, cut: np.ndarray | float) -> np.ndarray:
        """Return the share of the calibration rows, odd ones included, that score above each cut."""
        return (len(self.scores) - np.searchsorted(self.scores, cut, side="right")) / len(self.scores)

    def detect(self, scores: np.ndarray, fdr: float = 0.05) -> np.ndarray:
        """Return (m,) which rows of this batch to flag so that at most a share ``fdr`` of them is flagged wrongly.

        What is flagged depends on the whole batch: the more anomalies it holds, the laxer the cut.
        """
        return benjamini_hochberg(self.p_values(scores), fdr)


def benjamini_hochberg(p: np.ndarray, fdr: float) -> np.ndarray:
    """Return (m,) which hypotheses to reject: p <= fdr k / m, with the largest k that so many reach (Benjamini 1995)."""
    check_share("fdr", fdr)
    ordered = np.sort(p)
    reached = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / max(len(p), 1))
    return p <= ordered[reached[-1]] if len(reached) else np.zeros(len(p), bool)


def count_odd(scores: np.ndarray) -> int:
    """Count the top rows of sorted scores (n,) that an exponential tail of the rest does not explain.

    From the inside out: first a fifth is set aside. Of the rest, the upper half without its top tenth gives the scale of
    the tail (excesses censored at that tenth, so that stray rows weigh nothing), the tail gives every row a p-value, and
    Benjamini-Hochberg at level ``FALSELY_ODD`` says which stay aside. Repeated until no more rows return. Starting with
    all rows instead, a share of anomalies near a tenth would hide itself.
    """
    n = len(scores)
    odd = int(MOST_ODD * n) if n >= FEWEST_ROWS else 0
    while odd:
        rest = n - odd
        beyond, top = math.ceil(0.5 * rest), math.ceil(0.1 * rest)
        middle, knee = scores[rest - beyond - 1], scores[rest - top - 1]
        if knee <= middle:
            return 0  # half the rows are ties: no tail to be seen
        scale = np.minimum(scores[rest - beyond : rest], knee).sum() - beyond * middle
        scale /= beyond - top
        p = np.where(scores > knee, (top + 1) / (rest + 1) * np.exp((knee - scores) / scale), 1.0)
        found = int(benjamini_hochberg(p, FALSELY_ODD).sum())
        if found >= odd:
            break
        odd = found
    return odd


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
