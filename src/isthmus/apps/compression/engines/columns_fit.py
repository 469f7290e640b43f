"""How columns learn: which earlier columns tell most about one, its linear predictions, and which way is cheapest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isthmus.apps.compression.coder import Encoder
from isthmus.apps.compression.engines.columns_plan import (
    NUMBERS,
    OTHERS,
    PARENTS,
    REACH,
    SHIFT,
    Column,
    Predictor,
    feature,
)
from isthmus.apps.compression.engines.columns_walk import Walk

_SAMPLE = 1 << 15
_SCREEN = 1 << 12
_TRIED = 1 << 11
"""Rows from which parents are chosen, candidates are screened, and ways of coding are compared."""
_CANDIDATES = 10
_CAUSES = 12
_FEW = 12
"""Columns of so few kinds are no numbers."""
_WEIGHT_BITS = 30


def learn(X: np.ndarray, effort: str) -> list[Column]:
    """Return how each column of X (n, m) is coded, in the order in which they are."""
    return in_order(X, list(range(X.shape[1])))


def in_order(X: np.ndarray, order: list[int]) -> list[Column]:
    """Return how each column is coded if this is their order."""
    columns: list[Column] = []
    known = np.zeros(X.shape[::-1], np.int64)
    binned: list[np.ndarray] = []
    tried = _blocks(len(X), _TRIED)
    for j, place in enumerate(order):
        column = _scaled(X[:, place], place)
        known[j] = u = column.ranks(X[:, place])
        if column.size > 1:
            parents, others = _parents(u, binned)
            column = replace(column, parents=parents, others=others)
            if _FEW < column.size < NUMBERS:
                column = replace(column, predictors=tuple(_predictors(u, known[:j], columns, bool(column.parents))))
                column = _cheapest(column, j, known[:, tried], columns)
        columns.append(column)
        binned.append(column.binned(u))
    return columns


def _blocks(n: int, most: int) -> np.ndarray:
    """Return about so many rows, in four runs."""
    if n <= most:
        return np.arange(n)
    starts = np.linspace(0, n - most // 4, 4).astype(int)
    return np.concatenate([np.arange(start, start + most // 4) for start in starts])


def _scaled(x: np.ndarray, place: int) -> Column:
    """Return the column's values as a range, or as a list of levels where the range has enough holes to pay for it."""
    levels = np.unique(x)
    least, size = int(levels[0]), int(levels[-1]) - int(levels[0]) + 1
    holes = np.log2(size / len(levels))
    listed = len(levels) * (holes + 3)
    if size >= REACH or (holes > 0.1 and len(x) * holes * 0.3 > listed):
        return Column(place, least, len(levels), tuple(levels.tolist()))
    return Column(place, least, size, ())


def _cheapest(column: Column, j: int, known: np.ndarray, columns: list[Column]) -> Column:
    """Return the column coded in the way that takes the fewest bytes of some rows."""
    ways = [column, *(replace(column, mode=mode) for mode in range(1, len(column.predictors) + 1))]
    if column.predictors:
        ways.append(replace(column, predictors=()))
    return min(ways, key=lambda way: size_of(way, j, known, columns))


def size_of(column: Column, j: int, known: np.ndarray, columns: list[Column]) -> int:
    """Return the bytes of a column of which ``known`` (m, n) holds the ranks."""
    encoder = Encoder()
    Walk(column, j, known, tuple(columns), known.shape[1]).run(encoder, known[j].copy())
    return len(encoder.to_bytes())


def _quantiles(u: np.ndarray, bins: int = 48) -> np.ndarray:
    kinds, codes = np.unique(u, return_inverse=True)
    if len(kinds) <= bins:
        return codes
    edges = np.unique(np.quantile(u, np.arange(1, bins) / bins))
    return np.searchsorted(edges, u, side="right")


def _parents(u: np.ndarray, binned: list[np.ndarray]) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Choose, one after another, the earlier columns given which u costs least (adaptive counts, so that fine contexts pay)."""
    if not binned:
        return (), ()
    n = len(u)
    some = np.unique(np.linspace(0, n - 1, min(n, _SCREEN)).astype(int))
    y, nothing = _quantiles(u), np.zeros(n, np.int64)
    pool = [(a, lag) for a in range(len(binned)) for lag in (0, -1, 1)]
    costs = {c: _bits(y[some], binned[c[0]][np.clip(some + c[1], 0, n - 1)]) + 8 * abs(c[1]) for c in pool}
    some = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int))
    pool = sorted(pool, key=lambda c: costs[c])[:_CANDIDATES]
    candidates = {(a, lag): binned[a][np.clip(some + lag, 0, n - 1)] for a, lag in pool}
    chosen: list[tuple[int, int]] = []
    y, context = y[some], nothing[some]
    before = nothing_known = _bits(y, context)
    alone = {c: _bits(y, b) for c, b in candidates.items()}
    while len(chosen) < PARENTS:
        costs = {c: _bits(y, _joined(context, b)) for c, b in candidates.items() if c not in chosen}
        best = min(costs, key=lambda c: costs[c], default=None)
        if best is None or (chosen and costs[best] > before - 16) or (not chosen and costs[best] > before * 1.02):
            break
        context, before = _joined(context, candidates[best]), costs[best]
        chosen.append(best)
    others = [c for c in pool if c not in chosen and alone[c] < nothing_known - 24][:OTHERS]
    return tuple(chosen), tuple(others)


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


def _predictors(u: np.ndarray, known: np.ndarray, columns: list[Column], mean: bool) -> list[Predictor]:
    """Return the row before, a prediction by other columns, and one by both; those of them that explain something."""
    before = np.concatenate([u[:1], u[:-1]]).astype(np.float64)
    y = u - u.mean()
    power = float(np.abs(y).mean())
    found = []
    if np.abs(u - before).mean() < 0.95 * power * 1.2:
        found.append(_rounded([], np.ones(1), [before], u, exact=True))
    causes, features = _causes(y, known, columns)
    if causes:
        for with_before in (False, True):
            A = [*features, before] if with_before else features
            w = _weights(A, y, y - _fitted(A, y, y))[1:]
            w = w if with_before else np.append(w, 0.0)
            found.append(_rounded(causes, w, [*features, before], u))
        alone, both = found[-2:]
        if both.spread > 0.97 * alone.spread:
            found.pop()
    elif mean:
        found.append(_rounded([], np.zeros(1), [before], u))
    return found


def _causes(y: np.ndarray, known: np.ndarray, columns: list[Column]) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
    """Choose columns, and products of two chosen ones, that together explain y; as many as pay for their weights."""
    n = len(y)
    singles = {(a, -1): known[a].astype(np.float64) for a in range(len(known)) if 1 < columns[a].size < NUMBERS}
    chosen: list[tuple[int, int]] = []
    features: list[np.ndarray] = []
    rest = y
    for stage in range(2):
        pool = dict(singles)
        if stage:
            names = [a for a, b in chosen if b < 0 and columns[a].size > 2][:8]
            pairs = [(a, b) for i, a in enumerate(names) for b in names[: i + 1]]
            pool = {(a, b): feature(known, columns, a, b).astype(np.float64) for a, b in pairs}
        while pool and len(chosen) < _CAUSES:
            near = _near(rest)
            gains = {name: _explained(rest[near], x[near]) for name, x in pool.items()}
            best = max(gains, key=lambda name: gains[name])
            if gains[best] < 0.002 or -n / 2 * np.log2(1 - min(gains[best], 1 - 1e-9)) < 2 * _WEIGHT_BITS:
                break
            chosen.append(best)
            features.append(pool.pop(best))
            rest = y - _fitted(features, y, rest)
    if not np.abs(rest).mean() < 0.97 * np.abs(y - np.median(y)).mean():
        return [], []
    return chosen, features


def _weights(features: list[np.ndarray], y: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the weights of features by least squares over rows that are not far off already."""
    near = _near(rest)
    A = np.column_stack([np.ones(int(near.sum())), *(x[near] for x in features)])
    scale = np.abs(A).max(0) + 1e-300
    return np.linalg.lstsq(A / scale, y[near], rcond=None)[0] / scale


def _fitted(features: list[np.ndarray], y: np.ndarray, rest: np.ndarray) -> np.ndarray:
    intercept, *w = _weights(features, y, rest)
    return sum((v * x for v, x in zip(w, features, strict=True)), start=np.full(len(y), intercept))


def _near(rest: np.ndarray) -> np.ndarray:
    """Say which rows are within eight times the usual distance."""
    return np.abs(rest) <= 8 * np.median(np.abs(rest)) + 1


def _explained(rest: np.ndarray, x: np.ndarray) -> float:
    x, rest = x - x.mean(), rest - rest.mean()
    power, left = float(x @ x), float(rest @ rest)
    return float(x @ rest) ** 2 / (power * left) if power > 0 and left > 0 else 0.0


def _rounded(causes: list, w: np.ndarray, features: list[np.ndarray], u: np.ndarray, exact: bool = False) -> Predictor:
    """Return a predictor with weights as coarse as its errors allow."""
    linear = sum((v * x for v, x in zip(w, features, strict=True)), start=np.zeros(len(u)))
    intercept = 0.0 if exact else float(np.median(u - linear))
    spread = float(np.abs(u - linear - intercept).mean())
    whole = []
    for v, x in zip(w, features, strict=True):
        size = float(x.std()) + 1e-9
        unit = max(int(np.log2(max(spread, 0.02) / 8 / size * 2**SHIFT)), 0) if not exact else 0
        whole.append(round(v * 2**SHIFT / 2**unit) << unit)
    linear = sum((v / 2**SHIFT * x for v, x in zip(whole, features, strict=True)), start=np.zeros(len(u)))
    middle = 0 if exact else round(float(np.median(u - linear)) * 2**SHIFT / 2**12) << 12
    size = max(1, min(int(256 * float(np.abs(u - linear - middle / 2**SHIFT).mean())), NUMBERS))
    size = 1 << size.bit_length() - 1 if size < 8 else size >> size.bit_length() - 3 << size.bit_length() - 3
    return Predictor(tuple(causes), tuple(whole[:-1]), whole[-1], middle, size)
