"""How columns learn: which earlier columns tell most about one, and its linear prediction by least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.apps.compression.engines.columns import _PARENTS, _SHIFT, Column

_SAMPLE = 1 << 15
_FEW = 512
"""Columns of so many kinds are coded by rank without asking."""
_CAUSES = 12


def learn(X: np.ndarray, seed: int) -> list[Column]:
    """Return how each column of X (n, m) is coded, in their order."""
    columns: list[Column] = []
    ranks: list[np.ndarray] = []
    binned: list[np.ndarray] = []
    some = np.unique(np.linspace(0, len(X) - 1, min(len(X), _SAMPLE)).astype(int))
    for j in range(X.shape[1]):
        x = X[:, j]
        levels = np.unique(x)
        column = _scaled(levels, len(x))
        u = column.ranks(x)
        if column.size > 1:
            parents = _parents(_quantiles(u[some]), [b[some] for b in binned])
            fields: dict[str, Any] = {"parents": parents}
            if column.size > 12:
                fields |= _linear(u, ranks)
            tree = column.size <= _FEW or not _narrow(u, ranks, fields, column)
            column = Column(column.least, column.size, column.levels, tree, **fields)
        columns.append(column)
        ranks.append(u)
        binned.append(column.binned(u))
    return columns


def _scaled(levels: np.ndarray, rows: int) -> Column:
    """Return the column's values as a range, or as a list of levels where the range has enough holes to pay for it."""
    least, size = int(levels[0]), int(levels[-1] - levels[0]) + 1
    holes = np.log2(size / len(levels))
    listed = len(levels) * (2 * max(holes, 0.5) + 2)
    if holes > 0.1 and rows * holes * 0.3 > listed:
        return Column(least, len(levels), tuple(levels.tolist()), True)
    return Column(least, size, (), True)


def _quantiles(u: np.ndarray, bins: int = 48) -> np.ndarray:
    kinds, codes = np.unique(u, return_inverse=True)
    if len(kinds) <= bins:
        return codes
    edges = np.unique(np.quantile(u, np.arange(1, bins) / bins))
    return np.searchsorted(edges, u, side="right")


def _parents(y: np.ndarray, candidates: list[np.ndarray]) -> tuple[int, ...]:
    """Choose, one after another, the earlier columns given which y costs least (adaptive counts, so that fine contexts pay)."""
    chosen: list[int] = []
    context = np.zeros(len(y), np.int64)
    before = _bits(y, context)
    while len(chosen) < _PARENTS:
        costs = {a: _bits(y, _joined(context, c)) for a, c in enumerate(candidates) if a not in chosen}
        best = min(costs, key=lambda a: costs[a], default=None)
        if best is None or (chosen and costs[best] > before - 16) or (not chosen and costs[best] > before * 1.02):
            break
        context, before = _joined(context, candidates[best]), costs[best]
        chosen.append(best)
    return tuple(chosen)


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.unique(a * (int(b.max()) + 1) + b, return_inverse=True)[1]


def _bits(y: np.ndarray, context: np.ndarray) -> float:
    """Return the bits of y given a context, counts learned on the way, in the manner of Krichevsky and Trofimov."""
    from scipy.special import gammaln

    kinds = int(y.max()) + 1
    alpha = 0.5 if kinds < 4 else 2 / kinds
    _, counts = np.unique(context * kinds + y, return_counts=True)
    totals = np.bincount(context)
    each = gammaln(counts + alpha).sum() - len(counts) * gammaln(alpha)
    return float(gammaln(totals + alpha * kinds).sum() - len(totals) * gammaln(alpha * kinds) - each) / np.log(2)


def _linear(u: np.ndarray, ranks: list[np.ndarray]) -> dict:
    """Fit the prediction by earlier columns and the row before; nothing where it explains nothing."""
    before = np.concatenate([u[:1], u[:-1]]).astype(np.float64)
    pool = [*range(len(ranks))]
    y = u - u.mean()
    chosen: list[int] = []
    A = before[:, None] - before.mean()
    best = np.linalg.lstsq(A, y, rcond=None)[0]
    rest = y - A @ best
    while len(chosen) < _CAUSES and pool:
        gains = [_explained(rest, ranks[a]) for a in pool]
        a = pool[int(np.argmax(gains))]
        if max(gains) < 0.002:
            break
        pool.remove(a)
        B = np.column_stack([A, ranks[a] - ranks[a].mean()])
        w = np.linalg.lstsq(B, y, rcond=None)[0]
        chosen, A, best = [*chosen, a], B, w
        rest = y - A @ best
    if not np.var(rest) < 0.8 * np.var(y):
        return {}
    w = [*best[1:], best[0]]
    whole = [int(round(v * 2**_SHIFT)) for v in w]
    if max(map(abs, whole)) >= 1 << 40:
        return {}
    linear = sum((v * ranks[a] for v, a in zip(whole, chosen, strict=False)), start=whole[-1] * before)
    intercept = int(round(float(np.median(u * 2.0**_SHIFT - linear))))
    return {"causes": tuple(chosen), "weights": tuple(whole), "intercept": intercept}


def _explained(rest: np.ndarray, x: np.ndarray) -> float:
    x = x - x.mean()
    power, left = float(x @ x), float(rest @ rest)
    return float(x @ rest) ** 2 / (power * left) if power > 0 and left > 0 else 0.0


def _narrow(u: np.ndarray, ranks: list[np.ndarray], fields: dict, column: Column) -> bool:
    """Say whether the residuals of the prediction cover so much less than the values that they are cheaper."""
    if not fields.get("weights"):
        return False
    *weights, back = fields["weights"]
    P = sum((w * ranks[a].astype(float) for w, a in zip(weights, fields["causes"], strict=True)), start=0.0)
    r = u - (P + back * np.concatenate([u[:1], u[:-1]]) + fields["intercept"]) / 2**_SHIFT
    return float(np.log2(np.abs(r) + 1).mean()) < float(np.log2(np.abs(u - np.median(u)) + 1).mean()) - 1
