"""A detector that tells nothing apart must say so."""

from __future__ import annotations

import numpy as np

from isthmus.errors import DataError

FEWEST_ROWS = 20
"""Fewer rows may well be all alike."""


def check_scores(scores: np.ndarray) -> None:
    """Refuse scores that are not finite, or of which too few differ to rank anything."""
    if not np.isfinite(scores).all():
        raise DataError(
            f"{(~np.isfinite(scores)).sum()} of {len(scores)} anomaly scores are not finite; look for extreme values."
        )
    distinct = len(np.unique(scores))
    if len(scores) >= FEWEST_ROWS and distinct < 2:
        raise DataError(
            f"All {len(scores)} rows have the same anomaly score, so nothing can be told apart: the rows are all alike, or the "
            "autoencoder has not learned anything."
        )
