"""The detector's own recipe: prune, then learn from the rest by autoencoders, neighbours and frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from isthmus.apps.anomaly.bags import halves, seen
from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.apps.anomaly.frequencies import Frequencies
from isthmus.apps.anomaly.judge import Head, Judge
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.apps.anomaly.plausibility import PLAUSIBILITY, Plausibility
from isthmus.apps.anomaly.residuals import BATCH, MEMBERS, STEPS, Residuals
from isthmus.apps.anomaly.tails import leave_one_out
from isthmus.data.rows import Rows
from isthmus.data.tables import TableCodec
from isthmus.inputs import Learned

PRUNED = 0.25
"""The share of the rows that is taken for odd before anything is learned, as robust covariances do (Rousseeuw 1999)."""
PRUNED_AGAIN = 0.1
"""The share of the rest that distances and rarities, and then residuals too, find oddest: they see what the forest did not."""
MOST_INFLATED = 10.0
"""No number counts for more than so many times what it would by the deviation of all rows."""
BAGS, MOST = 32, 64
"""Samples to measure distances to, and their rows: small ones hold few anomalies of a kind, which hide each other."""
LARGEST_POOL = 100_000
"""Of more rows than these, a random choice is learned from."""
FEWEST_ROWS = 40
"""Fewer rows teach an autoencoder nothing that their distances do not say."""
TREES = 200


def learn_ensemble(X: Any, learned: Learned, prunes: bool, rng: np.random.Generator) -> tuple[Judge, np.ndarray]:
    """Return a judge of rows like ``X``, and the score (n,) of each row by those members that have not seen it.

    With ``prunes`` it learns from those rows only that an isolation forest, then distances and rarities find least odd; once
    there are residuals, these choose again with them, for the heads that are still to learn. All rows are scored.
    """
    layout, n = learned.codec.layout, len(learned.rows)
    pool = np.arange(n) if n <= LARGEST_POOL else np.sort(rng.choice(n, LARGEST_POOL, replace=False))
    rows, columns = learned.rows.subset(pool), Columns.of(layout)
    kept = passed = np.arange(len(pool))
    odd = np.zeros(len(pool))  # of the rows that have passed the forest
    if prunes:
        passed = prune(rows, rng)
        odd = _second_look(rows.subset(passed), columns, inflation(rows, passed, columns), rng)
        kept = _least_odd(passed, odd)
    heads: dict[str, Head] = {}
    found: dict[str, np.ndarray] = {}
    if len(pool) >= FEWEST_ROWS and layout.size > 1:
        bags = halves(kept, MEMBERS, STEPS * BATCH // 2, rng)
        weight = inflation(rows, kept, columns) if prunes else None
        head = heads["residual"] = Residuals.learn(X, learned, [pool[bag] for bag in bags], rng, weight)
        found["residual"] = head.settle(rows, kept, seen(bags, len(pool)))
        if prunes:
            kept = _least_odd(passed, odd + leave_one_out(found["residual"][passed].sum(1)))
    bags = halves(kept, BAGS, MOST, rng)
    head = heads["distance"] = Neighbours.learn(rows, columns, bags, inflation(rows, kept, columns))
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


def _second_look(rows: Rows, columns: Columns, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n,) how odd distances and rarities together find each row, out of bag."""
    everyone = np.arange(len(rows))
    bags = halves(everyone, BAGS, MOST, rng)
    far = Neighbours.learn(rows, columns, bags, weight).of(rows, seen(bags, len(rows)))
    rare = Frequencies.learn(rows, everyone, columns).of(rows, everyone >= 0)
    return leave_one_out(far.sum(1)) + leave_one_out(rare.sum(1))


def _least_odd(passed: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Return ``passed`` (n,), in order, without the share of them that is oddest."""
    return np.sort(passed[np.argsort(-odd, kind="stable")[int(PRUNED_AGAIN * len(passed)) :]])


def inflation(rows: Rows, kept: np.ndarray, columns: Columns) -> np.ndarray:
    """Return (d,) by how much the rows that are not ``kept`` inflate the deviation of each number; 1 where it is none.

    Numbers come standardised by all rows: a few far values make all others of their column look alike, and an anomaly among
    the training rows hides others that are as far. Times this, numbers and differences count in units of the usual.
    """
    everything, usual = _deviations(rows), _deviations(rows.subset(kept))
    least = np.maximum(usual, everything / MOST_INFLATED)
    inflated = np.divide(everything, least, out=np.ones_like(least), where=least > 0)
    for block in columns.blocks:
        if block.gap or block.kind != "numeric":
            inflated[block.features] = 1
    return inflated


def _deviations(rows: Rows) -> np.ndarray:
    """Return (d,) the standard deviation of the observed of each number."""
    count, total, squares = np.zeros((3, math.prod(rows.shape)))
    for _, piece, observed in pieces(rows):
        x = piece.astype(np.float64)  # 0 at gaps
        count += len(x) if observed is None else observed.sum(0)
        total, squares = total + x.sum(0), squares + (x**2).sum(0)
    count = np.maximum(count, 1)
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
