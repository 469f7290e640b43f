"""The detector's own recipe: prune, then learn from the rest by autoencoders, neighbours and frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from isthmus.apps.anomaly.bags import halves, seen
from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.apps.anomaly.frequencies import Frequencies
from isthmus.apps.anomaly.judge import Head, Judge
from isthmus.apps.anomaly.neighbours import BAGS, MOST, Neighbours
from isthmus.apps.anomaly.plausibility import PLAUSIBILITY, Plausibility
from isthmus.apps.anomaly.residuals import BATCH, MEMBERS, STEPS, Residuals
from isthmus.data.rows import Rows
from isthmus.data.tables import TableCodec
from isthmus.inputs import Learned

PRUNED = 0.25
"""The share of the rows that is taken for odd before anything is learned, as robust covariances do (Rousseeuw 1999)."""
LARGEST_POOL = 100_000
"""Of more rows than these, a random choice is learned from."""
FEWEST_ROWS = 40
"""Fewer rows teach an autoencoder nothing that their distances do not say."""
TREES = 200


def learn_ensemble(X: Any, learned: Learned, prunes: bool, rng: np.random.Generator) -> tuple[Judge, np.ndarray]:
    """Return a judge of rows like ``X``, and the score (n,) of each row by those members that have not seen it.

    With ``prunes`` it learns from those rows only that an isolation forest finds least odd; all rows are scored.
    """
    layout, n = learned.codec.layout, len(learned.rows)
    pool = np.arange(n) if n <= LARGEST_POOL else np.sort(rng.choice(n, LARGEST_POOL, replace=False))
    rows, columns = learned.rows.subset(pool), Columns.of(layout)
    kept = prune(rows, rng) if prunes else np.arange(len(pool))
    heads: dict[str, Head] = {}
    found: dict[str, np.ndarray] = {}
    if len(pool) >= FEWEST_ROWS and layout.size > 1:
        bags = halves(kept, MEMBERS, STEPS * BATCH // 2, rng)
        head = heads["residual"] = Residuals.learn(X, learned, [pool[bag] for bag in bags], rng)
        found["residual"] = head.settle(rows, kept, seen(bags, len(pool)))
    bags = halves(kept, BAGS, MOST, rng)
    head = heads["distance"] = Neighbours.learn(rows, columns, bags)
    found["distance"] = head.of(rows, seen(bags, len(pool)))
    head = heads["rarity"] = Frequencies.learn(rows, kept, columns)
    found["rarity"] = head.of(rows, np.isin(np.arange(len(pool)), kept))
    if isinstance(learned.codec, TableCodec) and len(pool) >= FEWEST_ROWS and Plausibility.fits(columns):
        heads[PLAUSIBILITY], found[PLAUSIBILITY] = Plausibility.learn(rows, learned.codec, columns, rng)
    judge = Judge.settle(heads, found, kept, columns)
    return judge, judge.combine_references(found)


def prune(rows: Rows, rng: np.random.Generator) -> np.ndarray:
    """Return the positions of the rows that an isolation forest finds least odd (Liu 2008), in order.

    It is fast, knows no scale, and errs elsewhere than autoencoders do. What it says enters no score.
    """
    from sklearn.ensemble import IsolationForest

    x = np.empty((len(rows), math.prod(rows.shape)), np.float32)
    for place, piece, _ in pieces(rows):
        x[place] = piece
    forest = IsolationForest(n_estimators=TREES, random_state=int(rng.integers(2**31 - 1))).fit(x)
    odd_first = np.argsort(forest.score_samples(x), kind="stable")
    return np.sort(odd_first[int(PRUNED * len(rows)) :])
