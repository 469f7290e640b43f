"""Extremely randomised trees (Geurts 2006) as plain arrays: grown by scikit-learn, kept without a pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TREES = 40


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees laid end to end; a node without children answers."""

    roots: np.ndarray
    """(trees,)."""
    left: np.ndarray
    """(nodes,), itself at a leaf."""
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    answer: np.ndarray
    """(nodes, outputs): mean, or probabilities."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the mean answer of the trees for rows (n, d), (n, outputs)."""
        x = x.astype(np.float32)
        node = np.repeat(self.roots[None], len(x), 0)  # (n, trees)
        each = np.arange(len(x))[:, None]
        while (self.left[node] != node).any():
            goes_left = x[each, self.feature[node]] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        return self.answer[node].mean(1)

    def arrays(self) -> dict[str, np.ndarray]:
        return dict(vars(self))


def grow(x: np.ndarray, target: np.ndarray, classes: int, seed: int) -> tuple[Forest, np.ndarray]:
    """Grow a forest for a number (``classes`` 0) or a category, and return what trees say of rows they were not grown on.

    The second is (n, outputs): out-of-bag means, NaN for rows that every tree has seen.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    common: dict[str, Any] = {"n_estimators": TREES, "bootstrap": True, "random_state": seed}
    if classes:
        model: Any = ExtraTreesClassifier(min_samples_leaf=2, max_features=0.5, **common).fit(x, target.astype(int))
        columns = model.classes_
    else:
        model = ExtraTreesRegressor(min_samples_leaf=3, max_features=0.8, **common).fit(x, target)
        columns = np.zeros(1, int)
    forest = _flattened([tree.tree_ for tree in model.estimators_], columns, max(classes, 1))
    return forest, _out_of_bag(model, forest, x)


def _flattened(trees: list[Any], columns: np.ndarray, outputs: int) -> Forest:
    sizes = [tree.node_count for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    left, right, answers = [], [], []
    for root, tree in zip(roots, trees, strict=True):
        own = root + np.arange(tree.node_count)
        left.append(np.where(tree.children_left < 0, own, root + tree.children_left))
        right.append(np.where(tree.children_right < 0, own, root + tree.children_right))
        answer = np.zeros((tree.node_count, outputs), np.float32)
        value = tree.value[:, 0]
        answer[:, columns] = value / value.sum(1, keepdims=True) if outputs > 1 else value
        answers.append(answer)
    feature = np.concatenate([np.maximum(tree.feature, 0) for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    return Forest(roots, np.concatenate(left), np.concatenate(right), feature, threshold, np.concatenate(answers))


def _out_of_bag(model: Any, forest: Forest, x: np.ndarray) -> np.ndarray:
    total, count = np.zeros((len(x), forest.answer.shape[1])), np.zeros((len(x), 1))
    ends = np.append(forest.roots[1:], len(forest.left))
    for tree, root, end, drawn in zip(
        model.estimators_, forest.roots, ends, model.estimators_samples_, strict=True
    ):
        out = np.ones(len(x), bool)
        out[drawn] = False
        total[out] += forest.answer[root:end][tree.apply(x[out])]
        count[out] += 1
    with np.errstate(invalid="ignore"):
        return total / np.where(count > 0, count, np.nan)
