"""A detector that tells nothing apart must say so, and why."""

from __future__ import annotations

import math
import warnings

import numpy as np

from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.data.rows import Rows
from isthmus.errors import DataError, DataWarning
from isthmus.estimator import Autoencoder

FEWEST_ROWS = 20
"""Fewer rows may well all get the same score, and show nothing of what an autoencoder has learned."""
LEAST_EXPLAINED = 0.01
"""An autoencoder that explains less of the variance, with codes that hardly differ, says nothing of a row."""
LEAST_SPREAD = 0.1
"""Codes hardly differ below this standard deviation; a Gaussian code then holds less than .005 nats a number."""
FEW_SCORES = 10
"""So few different scores of many rows are worth a word where a single value dwarfs all others."""


def check_rows(rows: Rows) -> None:
    """Refuse rows that are all alike: nothing can be odd beside them, or everything is."""
    first = None
    for _, x, observed in pieces(rows):
        if first is None:
            first = x[0], None if observed is None else observed[0]
        if (x != first[0]).any() or (observed is not None and (observed != first[1]).any()):
            return
    raise DataError(
        f"All {len(rows)} rows are alike, so nothing can be learned of how rows differ; give rows that do, or compare for equality."
    )


def check_autoencoder(autoencoder: Autoencoder, spread: np.ndarray) -> None:
    """Refuse an autoencoder that has learned nothing; ``spread`` (numbers of a code,) are the deviations of its codes."""
    found = autoencoder.scores_
    explained = found["model"]["explained"]
    if explained is None:
        return
    if explained < LEAST_EXPLAINED and spread.max() < LEAST_SPREAD:
        raise DataError(
            f"The autoencoder's codes are the same for every row (posterior collapse: they vary by {spread.max():.2g}, and it "
            f"explains {explained:.1%} of the variance), so it cannot tell rows apart; lower beta, or leave out autoencoder=."
        )
    if explained <= 0 and found["rows"] >= FEWEST_ROWS:
        raise DataError(
            f"The autoencoder rebuilds rows no better than their mean does ({explained:.1%} of the variance explained), so what "
            "it cannot rebuild says nothing; train it longer or with a larger latent_dim, or leave out autoencoder=."
        )


def check_scores(scores: np.ndarray) -> None:
    """Refuse scores that are not finite, or that are all the same."""
    check_finite(scores)
    if len(scores) >= FEWEST_ROWS and len(np.unique(scores)) < 2:
        raise DataError(
            f"All {len(scores)} rows have the same anomaly score, so nothing can be told apart: the rows are all alike, or the "
            "autoencoder has not learned anything."
        )


def check_finite(scores: np.ndarray) -> np.ndarray:
    """Return scores (n,), or name a row that has none."""
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise DataError(
            f"The anomaly score of row {wrong[0]} ({len(wrong)} of {len(scores)}) is not finite: a value in it lies too far from "
            "all that was learned; mark it as missing, or take it for the anomaly it is."
        )
    return scores


def check_extremes(scores: np.ndarray, rows: Rows, columns: Columns) -> None:
    """Warn where rows have hardly any scores because one value, in units of its column, is all there is to see."""
    n, distinct = len(scores), len(np.unique(scores))
    if n < FEWEST_ROWS or distinct > min(FEW_SCORES, n // 10):
        return
    for place, x, _ in pieces(rows):
        number = int(np.abs(x).max(0).argmax())
        row = int(np.abs(x[:, number]).argmax())
        column = int(columns.owner[number])
        if columns.is_numeric[column] and abs(x[row, number]) > 0.99 * math.sqrt(n - 1):
            name = columns.names[column] if columns.names else str(column)
            warnings.warn(
                f"The {n} rows have only {distinct} different anomaly scores: beside row {place.start + row} in column {name} "
                "all others look alike. If they are not, remove that value, or mark it as missing.",
                DataWarning,
                stacklevel=4,
            )
            return
