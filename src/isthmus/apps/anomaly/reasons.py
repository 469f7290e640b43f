"""Why a row is odd: by how much its score falls when one cell is replaced by what rows like it have there.

row as it is --without each cell--> one of them mends it: relief = score(row) - score(row without the cell)
                                --> none does: relief = score(similar row with the cell) - score(similar row)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, overload

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.culprits import find_culprits
from isthmus.apps.anomaly.frequencies import Frequencies
from isthmus.apps.anomaly.judge import Judge
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.apps.anomaly.plausibility import PLAUSIBILITY, Plausibility
from isthmus.apps.anomaly.residuals import Residuals
from isthmus.apps.evidence import values_of
from isthmus.apps.section import Section, Table
from isthmus.apps.words import percent, plain
from isthmus.chunks import chunks
from isthmus.data.containers import is_table
from isthmus.data.rows import DenseRows, Rows
from isthmus.errors import DataError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows

DRAWS = 10
"""Rows whose cells are tried in place of one: the nearest by all other columns."""
FARTHEST = 9.0
"""No column adds more to that distance: one wrong cell must not choose the neighbours of all others."""
MOST_TRIED = 64
"""Of more columns than these, those are tried that add most beyond what they usually do."""
ROUNDS = 3
"""How often a hidden cell is filled by what an autoencoder makes of the row."""
NUMBERS_AT_ONCE = 2**22
ODD = 0.05
"""Rows with p-values below it are odd: enough to ask for a reason even if no cell is suspect, and too much to be mended."""


@dataclass(frozen=True)
class Blame:
    """One cell of a row, and how much of the score it is to blame for."""

    name: str
    observed: Any
    """In the user's units; None is a gap."""
    expected: Any
    """What rows like this one have there: the median of numbers, the most frequent category."""
    share: float
    """``relief`` as a share of the sum over all columns that relieve the row at all; 0 where none does."""
    relief: float
    """By how much the score falls with what is expected in place, or that of similar rows rises with the cell in place; in
    tables with categories the log odds that the cell is wrong (:mod:`isthmus.apps.anomaly.culprits`)."""

    def __str__(self) -> str:
        return f"{self.name} is {_said(self.observed)}, expected {_said(self.expected)} ({percent(self.share)})"


@dataclass(frozen=True)
class Reason:
    """Why one row is odd."""

    row: int
    score: float
    p_value: float
    columns: tuple[Blame, ...]
    """The most to blame first; those that do not relieve the row at all have a share of 0."""

    def __str__(self) -> str:
        return f"row {self.row} (p = {self.p_value:.2g}): {'; '.join(map(str, self.columns))}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain(vars(self) | {"columns": [vars(blame) for blame in self.columns]})


@dataclass(frozen=True)
class Reasons(Sequence[Reason]):
    """Why rows are odd, one reason a row."""

    reasons: tuple[Reason, ...]

    def __len__(self) -> int:
        return len(self.reasons)

    @overload
    def __getitem__(self, index: int) -> Reason: ...
    @overload
    def __getitem__(self, index: slice) -> Reasons: ...
    def __getitem__(self, index: int | slice) -> Reason | Reasons:
        return Reasons(self.reasons[index]) if isinstance(index, slice) else self.reasons[index]

    def __iter__(self) -> Iterator[Reason]:
        return iter(self.reasons)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {"reasons": [reason.to_dict() for reason in self]}

    def to_table(self) -> Table:
        """Return one line for each cell that is blamed."""
        header = ("row", "score", "p_value", "rank", "column", "observed", "expected", "share")
        lines = [
            (reason.row, reason.score, reason.p_value, rank, blame.name, blame.observed, blame.expected, blame.share)
            for reason in self
            for rank, blame in enumerate(reason.columns, 1)
        ]
        return Table("Which cells make a row odd", header, [plain(line) for line in lines])

    def section(self) -> Section:
        """Return these reasons for the report, the oddest row first."""
        ordered = Reasons(tuple(sorted(self, key=lambda reason: -reason.score)))
        said = "A cell's share says how much of the oddness of its row it is to blame for."
        return Section("Why rows are odd", (said,), (ordered.to_table(),), facts=self.to_dict())


def find_reasons(detector: Any, X: Any, rows: Rows, top: int) -> Reasons:
    """Return the ``top`` columns to blame for each row of ``X``, of which ``rows`` are the encoded ones.

    The relief of a cell is the median, over the ten training rows nearest by all other columns, of score(row) minus
    score(row with their cell). A cell that makes others look wrong takes their oddness with it, and a column that is noisy
    in every row relieves none: what replaces it is as noisy. Replacement by values that the other columns make likely is
    Robnik-Sikonja's (2008) prediction difference. Cells that explain each other relieve each other, and share the blame.

    Several wrong cells hide each other: without any one of them the row is as odd, or odder where one had offset another.
    Of rows that no single cell mends (p stays below .05), relief is the other end of Shapley's (1953) value: no longer what
    the last cell takes out, but what the first one brings in, the median rise of the score of the ten training rows nearest
    by all columns, whole and so free of the other wrong cells, with the cell in its place.

    Tables with categories have heads that know p(column | all others), and Bayes' rule then says which cell is wrong if one
    is (:mod:`isthmus.apps.anomaly.culprits`); odd rows without a suspect are blamed by relief.
    """
    judge, columns = detector.judge_, detector.judge_.columns
    if detector.codec_.kind not in ("table", "array"):
        raise DataError(f"Columns are blamed in tables and arrays; this detector judges {detector.codec_.kind}.")
    names = columns.names or tuple(f"column {i}" for i in range(columns.number))
    tried = min(columns.number, MOST_TRIED)
    found: list[Reason] = []
    for place in chunks(len(rows), max(1, NUMBERS_AT_ONCE // (tried * DRAWS * columns.owner.size))):
        trial = _examine(judge, rows.subset(place), tried, detector.calibration_.p_values)
        p_values = detector.calibration_.p_values(trial.scores)
        given, expected = _given(X, names, place), values_of(detector, trial.expected)
        gains = np.maximum(trial.relief, 0)
        shares = gains / np.maximum(gains.sum(1, keepdims=True), 1e-12)
        for i, order in enumerate(np.argsort(-trial.relief, axis=1, kind="stable")[:, :top]):
            blames = tuple(
                Blame(
                    names[j],
                    given[names[j]][i],
                    None if trial.is_gap[i, j] else _rounded(expected[names[j]][i]),
                    float(shares[i, j]),
                    float(trial.relief[i, j]),
                )
                for j in order
            )
            found.append(Reason((place.start or 0) + i, float(trial.scores[i]), float(p_values[i]), blames))
    return Reasons(tuple(found))


class Trial(NamedTuple):
    """How much each cell of some rows is to blame."""

    scores: np.ndarray
    """(n,) of the rows as they are."""
    relief: np.ndarray
    """(n, columns) by how much they fall, or log odds; -infinity for columns that were not tried."""
    expected: np.ndarray
    """(n, d) what stands in for each column, encoded."""
    is_gap: np.ndarray
    """(n, columns) whether a gap is expected."""


class Draws(NamedTuple):
    """What one column of each row could hold instead, ``draws`` times."""

    x: np.ndarray
    """(draws, n, numbers of the column)."""
    observed: np.ndarray
    """The same shape, bool."""


def _examine(judge: Judge, rows: Rows, tried: int, p_values: Callable[[np.ndarray], np.ndarray]) -> Trial:
    plausible, rarity = judge.heads.get(PLAUSIBILITY), judge.heads.get("rarity")
    if isinstance(plausible, Plausibility) and isinstance(rarity, Frequencies):
        trial = Trial(judge.score(rows), *find_culprits(plausible, rarity, rows))
        # an odd row without a suspect is odd by its cells together, or by gaps, of which less is known
        whole = np.flatnonzero((trial.relief.max(1) <= 0) & (p_values(trial.scores) < ODD))
        if len(whole):
            for known, found in zip(trial, _try(judge, rows.subset(whole), tried, p_values), strict=True):
                known[whole] = found
        return trial
    return _try(judge, rows, tried, p_values)


def _try(judge: Judge, rows: Rows, tried: int, p_values: Callable[[np.ndarray], np.ndarray]) -> Trial:
    """Replace the cells of each row, one at a time; where none mends it, put each into similar rows instead."""
    x, observed = _numbers(rows)
    cells, columns = judge.cells(rows), judge.columns
    scores, chosen = judge.combine(cells), _chosen(judge, cells, tried)
    relief, is_gap = np.full(chosen.shape, -np.inf), np.zeros(chosen.shape, bool)
    expected = x.copy()
    sources, numeric = _sources(judge, x, observed), columns.is_numeric
    for column in np.flatnonzero(chosen.any(0)).tolist():
        who, own = np.flatnonzero(chosen[:, column]), np.flatnonzero(columns.owner == column)
        draws = sources(own, who)
        changed, known = np.repeat(x[None, who], len(draws.x), 0), np.repeat(observed[None, who], len(draws.x), 0)
        changed[:, :, own], known[:, :, own] = draws.x, draws.observed
        fallen = scores[who] - judge.score(DenseRows(*map(_flat, (changed, known)))).reshape(len(draws.x), -1)
        relief[who, column] = np.median(fallen, 0)
        expected[np.ix_(who, own)], is_gap[who, column] = _likeliest(draws, columns, own, bool(numeric[column]))
    near = judge.heads.get("distance")
    several = np.flatnonzero(p_values(scores - relief.max(1)) < ODD)
    if len(several) and isinstance(near, Neighbours):
        relief[several] = _put_in(judge, near, x[several], observed[several], chosen[several])
    return Trial(scores, relief, expected, is_gap)


def _chosen(judge: Judge, cells: dict[str, np.ndarray], tried: int) -> np.ndarray:
    """Return (n, columns) which are to be tried: the ``tried`` of each row that are most beyond what they usually add."""
    number = judge.columns.number
    excess = sum(
        judge.tails[name](found.sum(1))[:, None]
        * np.maximum(found - judge.typical[name], 0)
        / (found.sum(1)[:, None] + 1e-9)
        for name, found in cells.items()
        if found.shape[1] == number
    )
    chosen = np.zeros(np.shape(excess), bool)
    np.put_along_axis(chosen, np.argsort(-np.asarray(excess), axis=1, kind="stable")[:, :tried], True, 1)
    return chosen


def _put_in(judge: Judge, near: Neighbours, x: np.ndarray, observed: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return (n, columns) by how much each ``chosen`` cell makes similar training rows odder; -infinity for the others."""
    kept, seen, _, distance = _apart(near, judge.columns, x)
    nearest = _nearest(distance)
    usual, known = kept[nearest], seen[nearest]  # (draws, n, d)
    before = judge.score(DenseRows(_flat(usual), _flat(known))).reshape(len(nearest), -1)
    relief = np.full(chosen.shape, -np.inf)
    for column in np.flatnonzero(chosen.any(0)).tolist():
        who, own = np.flatnonzero(chosen[:, column]), np.flatnonzero(judge.columns.owner == column)
        changed, there = usual[:, who], known[:, who]
        changed[:, :, own], there[:, :, own] = x[who][:, own], observed[who][:, own]
        after = judge.score(DenseRows(_flat(changed), _flat(there))).reshape(len(nearest), -1)
        relief[who, column] = np.median(after - before[:, who], 0)
    return relief


def _sources(judge: Judge, x: np.ndarray, observed: np.ndarray) -> Callable[[np.ndarray, np.ndarray], Draws]:
    """Return the function (numbers of a column, rows) -> what the column could hold."""
    near = judge.heads.get("distance")
    if isinstance(near, Neighbours):
        return partial(_from_neighbours, *_apart(near, judge.columns, x))
    residual = judge.heads["residual"]
    assert isinstance(residual, Residuals), "the head of a given autoencoder"
    return partial(_from_autoencoder, residual.members[0], x, observed)


def _apart(near: Neighbours, columns: Columns, x: np.ndarray) -> tuple[Any, ...]:
    """Return the training rows that are kept, what each is made of, and how far rows are from them by every column."""
    kept = near.samples.reshape(-1, x.shape[1])
    seen = np.ones(kept.shape, bool) if near.observed is None else near.observed.reshape(kept.shape)
    once = np.sort(np.unique(np.concatenate([kept, seen], 1), axis=0, return_index=True)[1])  # rows lie in several bags
    kept, seen = kept[once], seen[once]
    distance = sum(_from_column(x, kept, columns.owner == column) for column in range(columns.number))
    return kept.astype(np.float32), seen, x, distance


def _from_column(x: np.ndarray, kept: np.ndarray, own: np.ndarray | slice) -> np.ndarray:
    """Return (n, kept) squared distances by the numbers of one column, at most ``FARTHEST``."""
    a, b = x[:, own].astype(np.float64), kept[:, own].astype(np.float64)
    return np.clip((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0, FARTHEST)


def _from_neighbours(
    kept: np.ndarray, seen: np.ndarray, x: np.ndarray, apart: np.ndarray, own: np.ndarray, who: np.ndarray
) -> Draws:
    nearest = _nearest(apart[who] - _from_column(x[who], kept, own))
    return Draws(kept[nearest][:, :, own], seen[nearest][:, :, own])


def _nearest(distance: np.ndarray) -> np.ndarray:
    """Return (draws, n) the places of the smallest of (n, kept) distances."""
    # in whole millionths: what rounding leaves of equal distances must not choose among rows
    return np.argsort(np.rint(distance * 1e6), axis=1, kind="stable")[:, :DRAWS].T


def _from_autoencoder(
    autoencoder: Autoencoder, x: np.ndarray, observed: np.ndarray, own: np.ndarray, who: np.ndarray
) -> Draws:
    """Hide the cells, and fill them by what comes back, again and again."""
    layout = autoencoder.codec_.layout
    filled, known = x[who].copy(), observed[who].copy()
    filled[:, own], known[:, own] = 0, False
    for _ in range(ROUNDS):
        back = map_rows(autoencoder.model_.expected, DenseRows(filled, known), autoencoder.model_)
        filled[:, own], known[:, own] = back.reshape(filled.shape)[:, own], True
    for block in layout.blocks:
        if block.start in own and block.kind != "numeric":
            filled[:, block.features] = _hardened(filled[:, block.features])
            if block.gap:
                filled[:, block.features] = 0
    return Draws(filled[None][:, :, own], known[None][:, :, own])


def _likeliest(draws: Draws, columns: Columns, own: np.ndarray, is_numeric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, numbers) the median of the numbers drawn, or the most frequent category; and (n,) whether most are gaps."""
    gaps = [block.start for block in columns.blocks if block.gap]
    is_value = ~np.isin(own, gaps)
    x = np.where(draws.observed, draws.x, np.nan)[:, :, is_value]
    expected = np.zeros(draws.x.shape[1:], np.float32)  # an indicator of gaps says no
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing but gaps was drawn
        middle = np.nanmedian(x, 0) if is_numeric else _hardened(np.nanmean(x, 0))
    expected[:, is_value] = np.nan_to_num(middle)
    is_gap = np.isnan(x).any(2) if is_value.any() else draws.x[:, :, 0] > 0.5
    return expected, is_gap.mean(0) > 0.5


def _hardened(chances: np.ndarray) -> np.ndarray:
    """Return (n, width) with a 1 for the likeliest category; a boolean is rounded."""
    if chances.shape[1] == 1:
        return (chances > 0.5).astype(np.float32)
    return np.eye(chances.shape[1], dtype=np.float32)[np.nan_to_num(chances).argmax(1)]


def _numbers(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    x, observed = rows.take(slice(None))
    return x.numpy(), np.ones(x.shape, bool) if observed is None else observed.numpy()


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])


def _given(X: Any, names: Sequence[str], place: slice) -> dict[str, list[Any]]:
    """Return the cells of some rows as the user wrote them, column by column; None at gaps."""
    if is_table(X):
        from isthmus.data import frames

        columns = dict(zip(map(str, frames.labels_of(X)), frames.native_columns(X), strict=True))
        return {name: frames.column(name, columns[name][place]).values.to_pylist() for name in names}
    matrix = X[place].toarray() if hasattr(X, "toarray") else np.asarray(X)[place]
    return {
        name: [None if value != value else value for value in matrix[:, i].tolist()] for i, name in enumerate(names)
    }


def _rounded(value: Any) -> Any:
    """Return a number without the crumbs that scaling and its undoing leave."""
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value


def _said(value: Any) -> str:
    return "a gap" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
