"""Scores of synthetic tables, on columns as numbers: shapes, pairs, who can tell, what they teach, whom they copy.

Column shapes and pair trends are those of SDMetrics (Patki 2016): 1 is what the same distribution would give.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions when it is imported, where no type checker sees them)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from isthmus.apps.imputation.merging import as_table
from isthmus.data import frames
from isthmus.data.columns import Constant, LeftOut, Numeric, Time
from isthmus.data.learning import learn_column
from isthmus.errors import DataError

DECILES = np.linspace(0, 1, 11)[1:-1]
MOST_JUDGED = 6000
"""Rows of each side that a classifier tells apart."""
MOST_COMPARED = 2000
"""Synthetic rows whose nearest neighbours are looked for."""
FOLDS = 3
FEW = 1000
"""Training rows up to which trees stay small."""
SMALL: dict[str, Any] = {"max_leaf_nodes": 8, "min_samples_leaf": 5}
GROWN: dict[str, Any] = {"early_stopping": False}


class Plain(NamedTuple):
    """Tables as numbers, all coded alike."""

    tables: list[np.ndarray]
    """(n, k) float64 each: numbers, or which category; NaN at gaps."""
    number: np.ndarray
    """(k,) bool."""
    names: list[str]


def as_numbers(tables: list[Any]) -> Plain:
    """Code tables of the same columns alike; the first one says which columns are numbers."""
    each = [{column.dress.name: column for column in frames.columns_of(as_table(table))} for table in tables]
    codes, number, names = [], [], []
    for name, first in each[0].items():
        kind = learn_column(first, "columns")[0]
        if isinstance(kind, Constant | LeftOut):
            continue
        missing = next((place for place, columns in enumerate(each) if name not in columns), None)
        if missing is not None:
            raise DataError(
                f"a table has no column {name!r}, which the first one has; give tables of the same columns."
            )
        values = [columns[name].values for columns in each]
        if isinstance(kind, Numeric | Time):
            codes.append([kind.to_exact(one) for one in values])
        else:
            codes.append(_categories(values))
        number.append(isinstance(kind, Numeric | Time))
        names.append(name)
    if not names:
        raise DataError("no column can be compared; each holds one value, an identifier or free text.")
    return Plain([np.stack(columns, 1) for columns in zip(*codes, strict=True)], np.array(number), names)


def _categories(values: list[pa.Array]) -> list[np.ndarray]:
    """Return which category each cell is, in the order of their text; NaN at gaps."""
    texts = [one.cast(pa.large_string()) for one in values]
    joined = pa.chunked_array(texts)
    known = sorted(value for value in joined.unique().to_pylist() if value is not None)
    place = {value: float(at) for at, value in enumerate(known)}
    return [np.array([place.get(value, np.nan) for value in text.to_pylist()]) for text in texts]


def shapes(real: np.ndarray, other: np.ndarray, number: np.ndarray) -> float:
    """Return the mean over columns of 1 - Kolmogorov-Smirnov distance, or 1 - total variation."""
    found = [
        1 - (_ks(real[:, k], other[:, k]) if is_number else _variation(real[:, k], other[:, k]))
        for k, is_number in enumerate(number)
    ]
    return float(np.mean(found))


def pairs(real: np.ndarray, other: np.ndarray, number: np.ndarray) -> float:
    """Return the mean over pairs of 1 - |difference of correlations| / 2, or 1 - total variation of the table of two.

    A number beside a category stands in the deciles of the real column.
    """
    boxed = [_boxed(real[:, k], other[:, k], is_number) for k, is_number in enumerate(number)]
    found = []
    for a in range(len(number)):
        for b in range(a):
            if number[a] and number[b]:
                found.append(1 - abs(_correlation(real[:, [a, b]]) - _correlation(other[:, [a, b]])) / 2)
            else:
                sides = [boxed[a][side] * 1000 + boxed[b][side] for side in (0, 1)]
                found.append(1 - _variation(*sides))
    return float(np.mean(found)) if found else 1.0


def detection(real: np.ndarray, other: np.ndarray, number: np.ndarray) -> float:
    """Return the AUC with which boosted trees tell real rows from others, three-fold; 0.5 is not at all."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    count = min(len(real), len(other), MOST_JUDGED)
    x, y = np.concatenate([real[:count], other[:count]]), np.repeat([0, 1], count)
    scores = np.zeros(len(y))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y):
        scores[test] = _trees(x, number).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, scores))


def taught(train: np.ndarray, test: np.ndarray, number: np.ndarray, target: int) -> float:
    """Return how well boosted trees taught by ``train`` know the target of ``test``.

    The AUC of two categories, the accuracy of more, R2 of a number.
    """
    from sklearn.metrics import r2_score, roc_auc_score

    others = np.arange(len(number)) != target
    known, judged = (rows[~np.isnan(rows[:, target])] for rows in (train, test))
    x, y, z, truth = known[:, others], known[:, target], judged[:, others], judged[:, target]
    few: dict[str, Any] = {} if len(x) > FEW else SMALL
    if number[target]:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(random_state=0, **GROWN, **few).fit(x, y)
        return float(r2_score(truth, model.predict(z)))
    categories = np.unique(truth)
    if len(np.unique(y)) < 2:
        return 0.5 if len(categories) == 2 else float((truth == y[0]).mean())
    model = _trees(np.concatenate([x, z]), number[others], **few).fit(x, y)
    if len(categories) == 2 and set(np.unique(y)) <= set(categories):
        return float(roc_auc_score(truth == categories[1], model.predict_proba(z)[:, 1]))
    return float((model.predict(z) == truth).mean())


def closest_share(train: np.ndarray, held: np.ndarray, other: np.ndarray, number: np.ndarray) -> float:
    """Return the share of rows nearer to a training row than to a held-out one, of which there are as many.

    Gower's distance (1971): numbers by their range of 3.5 standard deviations, categories equal or not; ties count half.
    """
    count, rows = min(len(train), len(held)), other[:MOST_COMPARED]
    scale = np.where(number, 3.5 * np.nanstd(train, 0) + 1e-9, 1.0)
    first, second = (_nearest(rows / scale, side[:count] / scale, number) for side in (train, held))
    return float(np.mean(first < second) + np.mean(first == second) / 2)


def copies(train: np.ndarray, held: np.ndarray, other: np.ndarray) -> float:
    """Return the share of rows that equal a training row in every column, less that of held-out rows."""
    known = {row.tobytes() for row in np.nan_to_num(train, nan=-1e300)}
    shares = [
        np.mean([row.tobytes() in known for row in np.nan_to_num(rows[:MOST_COMPARED], nan=-1e300)])
        for rows in (other, held)
    ]
    return float(shares[0] - shares[1])


def _nearest(rows: np.ndarray, others: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the distance of each row (n, k) to the nearest of the others; a gap equals a gap, and nothing else."""
    found = []
    rows, others = (np.nan_to_num(side, nan=-1e6) for side in (rows, others))
    for start in range(0, len(rows), 100):
        distance = np.zeros((len(rows[start : start + 100]), len(others)))
        for k, is_number in enumerate(number):
            apart = rows[start : start + 100, k, None] - others[:, k]
            distance += np.minimum(np.abs(apart), 1) if is_number else apart != 0
        found.append(distance.min(1))
    return np.concatenate(found)


def _trees(x: np.ndarray, number: np.ndarray, **few: Any) -> Any:
    """Return boosted trees for rows like these; they can take at most 255 categories as such."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    as_such = ~number & (np.nan_to_num(x).max(0) < 255)
    return HistGradientBoostingClassifier(categorical_features=as_such, random_state=0, **GROWN, **few)


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest distance of two distribution functions; gaps count as a value below all others."""
    a, b = (np.sort(np.nan_to_num(side, nan=-np.inf)) for side in (a, b))
    at = np.concatenate([a, b])
    return float(
        np.abs(np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)).max()
    )


def _variation(a: np.ndarray, b: np.ndarray) -> float:
    """Return half the sum of the differences of frequencies."""
    values, which = np.unique(np.nan_to_num(np.concatenate([a, b]), nan=-1), return_inverse=True)
    shares = [np.bincount(side, minlength=len(values)) / len(side) for side in (which[: len(a)], which[len(a) :])]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _boxed(real: np.ndarray, other: np.ndarray, number: bool) -> tuple[np.ndarray, np.ndarray]:
    if not number:
        return np.nan_to_num(real, nan=-1), np.nan_to_num(other, nan=-1)
    edges = np.unique(np.nanquantile(real, DECILES))
    sides = [np.where(np.isnan(side), -1, np.searchsorted(edges, side)) for side in (real, other)]
    return sides[0], sides[1]


def _correlation(two: np.ndarray) -> float:
    """Return the correlation over rows without gaps, 0 where a column does not vary."""
    two = two[~np.isnan(two).any(1)]
    spread = two.std(0) if len(two) else np.zeros(2)
    if not spread.all():
        return 0.0
    return float(((two - two.mean(0)) / spread).prod(1).mean())
