"""Which rows train, and which are held out to judge by."""

from __future__ import annotations

import math

import numpy as np

from isthmus.data.rows import Rows, WindowRows
from isthmus.errors import DataError, SettingError

FEWEST_TO_HOLD_OUT = 20
"""With fewer rows than this none are held out: what a row or two say is noise."""


def split(rows: Rows, alive: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of training rows and of held-out rows, among those that count (``alive``), in order.

    Windows of a series overlap: the last ones are held out in one block, and those that share points with it are left out of
    both; a series too short for that holds out none.
    """
    if not 0 <= fraction < 1:
        raise SettingError(f"validation_fraction={fraction} must be at least 0 and below 1.")
    n_rows = len(alive)
    if n_rows < 2:
        raise DataError(f"{n_rows} row(s) have a weight above 0; at least 2 samples are needed to learn from.")
    count = min(math.ceil(fraction * n_rows), n_rows - 2) if n_rows >= FEWEST_TO_HOLD_OUT else 0
    if isinstance(rows, WindowRows):
        left = n_rows - count - rows.overlap
        return (alive[:left], alive[n_rows - count :]) if count and left >= n_rows / 2 else (alive, alive[:0])
    order = np.random.default_rng(seed).permutation(alive)
    return np.sort(order[count:]), np.sort(order[:count])
