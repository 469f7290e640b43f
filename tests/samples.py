"""Small data of every kind that the catalogue learns from."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import isthmus as ist


@cache
def data_for(inputs: str, rows: int = 240) -> tuple[Any, Any]:
    """Return (X, y) of a kind that a catalogue's entry names in ``inputs``; y is None where nobody asks for it."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    if inputs in ("images", "places"):
        return digits.images[:rows] / 16.0, None
    if inputs == "series":
        t = np.arange(rows + 23.0)
        values = np.stack([np.sin(t / 3 + 0.3 * np.sin(t / 20)), np.cos(t / 7)], axis=1)
        return ist.Series(values + 0.05 * rng.normal(size=values.shape), length=24, step=1), None
    if inputs == "counts":
        rate = np.exp(rng.normal(size=(rows, 2)) @ rng.normal(size=(2, 12)) * 0.7 + 1.0)
        return rng.poisson(rate).astype(float), None
    if inputs == "labels":
        return digits.data[:rows], digits.target[:rows]
    return digits.data[:rows], None


def gappy(X: Any) -> Any:
    """Return the array with a tenth of its numbers missing."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(X.shape) < 0.1, np.nan, X)
