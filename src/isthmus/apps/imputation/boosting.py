"""Boosted trees (Friedman 2001) as plain arrays: grown by scikit-learn, kept and asked without a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

SHRINKAGE = 0.1
LEAVES = 8
ROUNDS_OF_NUMBERS, ROUNDS_OF_CLASSES = 70, 35
MOST_TREES = 120
"""Of one column; one of many categories, which needs a tree for each in every round, gets fewer rounds that count more."""
ROWS = 4096
"""How many rows walk down the trees at a time."""
RIDGE = 5.0
"""Added to the second derivatives of a leaf; without it rare categories have leaves of any size."""


@dataclass(frozen=True, eq=False)
class Boosted:
    """Trees laid end to end, and what they add to; a node that leads to itself is a leaf."""

    roots: np.ndarray
    """(rounds, outputs)."""
    left: np.ndarray
    """(nodes,)."""
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    """(nodes,) bool: where a gap goes."""
    value: np.ndarray
    start: np.ndarray
    """(outputs,)."""
    classes: np.ndarray
    """(c,) which categories there were; empty for a number."""

    def predict(self, x: np.ndarray, width: int) -> np.ndarray:
        """Return the number (n, 1), or the probability of each of ``width`` categories, for rows (n, d) with NaN gaps."""
        if len(self.classes) == 1:
            return np.repeat(np.eye(width)[self.classes], len(x), 0)
        raw = np.concatenate([self._sums(x[start : start + ROWS]) for start in range(0, max(1, len(x)), ROWS)])
        if not len(self.classes):
            return raw
        known = np.concatenate([1 - expit(raw), expit(raw)], 1) if raw.shape[1] == 1 else softmax(raw, 1)
        chances = np.zeros((len(x), width))
        chances[:, self.classes] = known
        return chances

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """Return what the trees add up to, (n, outputs)."""
        node = np.broadcast_to(self.roots.reshape(-1), (len(x), self.roots.size)).copy()
        each = np.arange(len(x))[:, None]
        while True:
            cell = x[each, self.feature[node]]
            goes_left = np.where(np.isnan(cell), self.missing_left[node], cell <= self.threshold[node])
            onward = np.where(goes_left, self.left[node], self.right[node])
            if (onward == node).all():
                break
            node = onward
        return self.value[node].reshape(len(x), *self.roots.shape).sum(1) + self.start


def grow(x: np.ndarray, target: np.ndarray, is_number: bool, seed: int) -> Boosted:
    """Grow trees for a standardised number, or for categories (whole numbers); gaps of x (n, d) are NaN."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    common: dict[str, Any] = {
        "max_leaf_nodes": LEAVES,
        "min_samples_leaf": int(np.clip(len(x) // 50, 5, 20)),
        "l2_regularization": RIDGE,
        "early_stopping": False,
        "random_state": seed,
    }
    if is_number:
        model: Any = HistGradientBoostingRegressor(max_iter=ROUNDS_OF_NUMBERS, learning_rate=SHRINKAGE, **common).fit(
            x, target
        )
        return _flattened(model, np.zeros(0, np.int64))
    target = target.astype(np.int64)
    classes = np.unique(target)
    if len(classes) == 1:
        none = np.zeros(0)
        return Boosted(np.zeros((0, 1), np.int64), none, none, none, none, none, none, np.zeros(1), classes)
    count = len(classes)
    rounds = int(np.clip(MOST_TREES // count, 10, ROUNDS_OF_CLASSES))
    rate = min(0.25, SHRINKAGE * ROUNDS_OF_CLASSES / rounds)
    model = HistGradientBoostingClassifier(max_iter=rounds, learning_rate=rate, **common).fit(x, target)
    return _flattened(model, model.classes_)


def _flattened(model: Any, classes: np.ndarray) -> Boosted:
    rounds = model._predictors  # the tests hold what is read here to the model's own predictions
    trees = [tree.nodes for outputs in rounds for tree in outputs]
    sizes = [len(nodes) for nodes in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    root = np.repeat(roots, sizes)
    nodes, own = np.concatenate(trees), np.arange(sum(sizes))
    leaf = nodes["is_leaf"].astype(bool)
    return Boosted(
        roots.reshape(len(rounds), -1),
        np.where(leaf, own, root + nodes["left"]),
        np.where(leaf, own, root + nodes["right"]),
        np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        nodes["num_threshold"].astype(np.float64),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"].astype(np.float64),
        np.asarray(model._baseline_prediction, np.float64).reshape(-1),
        np.asarray(classes, np.int64),
    )
