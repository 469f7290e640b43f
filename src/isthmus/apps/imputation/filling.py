"""How gaps are filled: every column by a mix of the linear answer, the network and, where they are worth it, groups and trees.

observed cells -> Conditionals -> linear, network --\\
              \\-> groups of rows, if rows are few ----\\
               \\-> the other columns, filled -> trees ---> weights of the column -> expected value, or most probable category
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from isthmus.apps.columns import Cells, Coding, Conditionals, Predicted, Recipe, learn
from isthmus.apps.columns.coding import Choice, Number
from isthmus.apps.columns.conditionals import cumulative, quantile
from isthmus.apps.columns.fitting import FEW
from isthmus.apps.imputation.blend import weigh
from isthmus.apps.imputation.boosting import Boosted, grow
from isthmus.apps.imputation.location import Location, fit_location

FEWEST = 30
"""Observed cells below which a column gets no trees, and rows below which there is no training."""

LARGE = 1000
"""Observed cells from which on the trees of a column are judged on one fold."""


@dataclass(frozen=True, eq=False)
class Column:
    """What was found out about one column on cells that were hidden from the members that judged them."""

    weights: np.ndarray
    """Of the linear answer, the network and, if there are any, groups and trees: (2,), (3,) or (4,)."""
    error: float
    """Root mean squared error (standardised) of a number, share of wrong answers of a category."""
    plain: float
    """The same of the mean, or the most frequent category."""
    judged: int
    """On how many cells."""
    misses: np.ndarray
    """(m,), sorted: how far from the median, in probability, an interval must reach to cover each cell; numbers only."""
    trees: Boosted | None = None


@dataclass(frozen=True, eq=False)
class Filling:
    """A fitted filling: cells with gaps in, cells without out."""

    model: Conditionals
    columns: tuple[Column, ...]
    location: Location | None = None

    @property
    def coding(self) -> Coding:
        return self.model.coding

    def fill(self, cells: Cells) -> np.ndarray:
        """Return the cells (n, k), gaps filled by what is expected."""
        predicted = self.model.predict(self.model.rows(cells), cells.observed)
        first = guesses(self.model, predicted)
        filled = np.where(cells.observed, cells.values, first)
        grouped = None if self.location is None else self.location.predict(self.coding, cells)
        for place, column in enumerate(self.columns):
            gaps = np.flatnonzero(~cells.observed[:, place])
            if not len(gaps):
                continue
            there = _of(predicted, gaps)
            answers = _answers(self.model, there, place, None if grouped is None else grouped[gaps])
            if column.trees is not None:
                beside = surroundings(self.model, Cells(cells.values[gaps], cells.observed[gaps]), there, place)
                trees = column.trees.predict(beside, self.coding.columns[place].width)
                answers = np.concatenate([answers, trees[:, :, None]], 2)
            filled[gaps, place] = _decided(self.coding, place, answers @ column.weights)
        return filled

    def intervals(self, cells: Cells, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of a central interval for every number, (n, numbers) each.

        Its levels are those that covered as many of the judged cells: distributional conformal prediction
        (Chernozhukov 2021), so that ``coverage`` holds for cells missing at random whatever the networks got wrong. The
        judged cells were each predicted by one member, and so are these: which one follows from the row itself.
        """
        by = np.array(
            [
                zlib.crc32(row.tobytes(), zlib.crc32(seen.tobytes())) % self.model.members
                for row, seen in zip(np.where(cells.observed, cells.values, 0), cells.observed, strict=True)
            ],
            np.int64,
        )
        predicted = self.model.predict(self.model.rows(cells), cells.observed, by)
        ends = []
        for place, number in enumerate(self.coding.numbers):
            misses = self.columns[place].misses
            rank = int(np.ceil(coverage * (len(misses) + 1))) - 1
            reach = misses[rank] if rank < len(misses) else 0.5
            chances = predicted.chances[:, self.model.columns(place)]
            ends.append([quantile(number, chances, 0.5 + side * reach) for side in (-1, 1)])
        low, high = np.array(ends, np.float64).reshape(-1, 2, len(by)).transpose(1, 2, 0)
        return low, high


def fit_filling(coding: Coding, cells: Cells, polish: bool, seed: int) -> tuple[Filling, list[float]]:
    """Train the members, then weigh the answers on what each member held out."""
    rows = len(cells.values)
    recipe = Recipe.of(coding, rows)
    fitted = learn(coding, cells, recipe if rows >= FEWEST else recipe._replace(steps=0), seed)
    model = Conditionals(coding, fitted.network)
    location = fit_location(coding, cells, fitted.judge, seed) if FEWEST <= rows < FEW else None
    columns = tuple(
        _judge(model, location, cells, place, fitted.judge, polish, seed) for place in range(len(coding.columns))
    )
    return Filling(model, columns, location), fitted.losses


def _judge(
    model: Conditionals, location: Location | None, cells: Cells, place: int, judge: np.ndarray, polish: bool, seed: int
) -> Column:
    """Hide one column, let it be predicted by members that have not seen the row, and weigh the answers."""
    seen = np.flatnonzero(cells.observed[:, place])
    has_trees = polish and FEWEST <= len(seen) < len(cells.observed)
    if not has_trees:
        seen = seen[judge[seen] >= 0]
    observed = cells.observed[seen].copy()
    observed[:, place] = False
    hidden = Cells(cells.values[seen], observed)
    predicted = model.predict(model.rows(hidden), observed, judge[seen])
    truth, number = cells.values[seen, place], model.coding.columns[place]
    grouped = None if location is None else location.predict(model.coding, hidden, judge[seen])
    answers, trees = _answers(model, predicted, place, grouped), None
    if has_trees:
        goal = (truth - number.mean) / number.deviation if isinstance(number, Number) else truth
        trees, said = _cross_grown(surroundings(model, hidden, predicted, place), goal, number, judge[seen], seed)
        answers = np.concatenate([answers, said[:, :, None]], 2)
    honest = (judge[seen] >= 0) & np.isfinite(answers).all((1, 2))
    goal = _goal(model.coding, place, truth)
    others = answers.shape[2] - 1
    before = np.array([0.0, *[1 / others] * others])  # the linear answer is in the network
    weights = weigh((answers - goal[:, :, None])[honest], before)
    decided = _decided(model.coding, place, answers[honest] @ weights)
    misses = np.zeros(0)
    if isinstance(number, Number):
        judged = judge[seen] >= 0  # by a network; trees may have judged fewer
        low, high = cumulative(number, predicted.chances[judged][:, model.columns(place)], truth[judged])
        misses = np.sort(np.maximum(0, np.maximum(0.5 - high, low - 0.5)))
    error, plain = _errors(model.coding, place, decided, truth[honest])
    return Column(weights, error, plain, int(honest.sum()), misses, trees)


def _cross_grown(
    x: np.ndarray, goal: np.ndarray, column: Number | Choice, judge: np.ndarray, seed: int
) -> tuple[Boosted, np.ndarray]:
    """Return trees grown on all rows, and what trees grown without a judged row say of it (n, c), NaN where none did.

    Of a large table those are the rows that one member held out; of a small one all, in two halves.
    """
    said = np.full((len(x), 1 if isinstance(column, Number) else column.width), np.nan)
    for held in [judge == 0] if len(x) >= LARGE else [judge % 2 == 0, judge % 2 == 1]:
        if held.any() and (~held).sum() >= FEWEST // 2:
            said[held] = grow(x[~held], goal[~held], isinstance(column, Number), seed).predict(x[held], said.shape[1])
    return grow(x, goal, isinstance(column, Number), seed), said


def surroundings(model: Conditionals, cells: Cells, predicted: Predicted, place: int) -> np.ndarray:
    """Return what the trees for one column see: the others as observed (NaN at gaps), filled, and the network's answer.

    The gaps of the others are filled without the column, so that nothing of the truth leaks.
    """
    coding, n = model.coding, len(model.coding.numbers)
    filled = np.where(cells.observed, cells.values, guesses(model, predicted))
    spread = np.concatenate([coding.scores(filled), filled[:, n:]], 1)
    others = np.arange(spread.shape[1]) != place
    gaps = np.where(cells.observed, spread, np.nan)
    if place < n:
        own = predicted.means[:, place : place + 1]
    else:
        own = np.log(predicted.chances[:, model.columns(place)] + 1e-4)
    return np.concatenate([gaps[:, others], spread[:, others], own], 1).astype(np.float64)


def guesses(model: Conditionals, predicted: Predicted) -> np.ndarray:
    """Return the expected number, or the most probable category, of every cell (n, k)."""
    coding, n = model.coding, len(model.coding.numbers)
    most = [
        predicted.chances[:, model.columns(n + i)].argmax(1)[:, None].astype(np.float32)
        for i in range(len(coding.choices))
    ]
    return np.concatenate([coding.unstandard(predicted.means), *most], 1).astype(np.float32)


def _answers(model: Conditionals, predicted: Predicted, place: int, grouped: np.ndarray | None) -> np.ndarray:
    """Return what linear answer, network and groups say, (n, 1, a) standardised, or chances (n, c, a)."""
    coding, n = model.coding, len(model.coding.numbers)
    start = place if place < n else n + sum(column.width for column in coding.choices[: place - n])
    own = slice(start, start + 1 if place < n else start + coding.columns[place].width)
    linear = predicted.linear[:, own]
    if place < n:
        number = coding.numbers[place]
        linear = (number.quantiles(ndtr(linear.astype(np.float64))) - number.mean) / number.deviation
        network = predicted.means[:, place : place + 1]
    else:
        linear = np.clip(linear, 1e-3, None)
        linear, network = linear / linear.sum(1, keepdims=True), predicted.chances[:, model.columns(place)]
    return np.stack([linear, network, *([] if grouped is None else [grouped[:, own]])], 2)


def _decided(coding: Coding, place: int, mixed: np.ndarray) -> np.ndarray:
    """Return the value of each cell: a number in codec units, or the most probable category."""
    if place >= len(coding.numbers):
        return mixed.argmax(1).astype(np.float32)
    number = coding.numbers[place]
    return np.clip(mixed[:, 0] * number.deviation + number.mean, number.support[0], number.support[-1])


def _goal(coding: Coding, place: int, truth: np.ndarray) -> np.ndarray:
    """Return the truth as answers are given, (n, c)."""
    number = coding.columns[place]
    if isinstance(number, Number):
        return (truth[:, None] - number.mean) / number.deviation
    return np.eye(number.width)[truth.astype(np.int64)]


def _errors(coding: Coding, place: int, decided: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the error of what was decided, and of the mean or mode; NaN where nothing was judged."""
    if not len(truth):
        return float("nan"), float("nan")
    column = coding.columns[place]
    if isinstance(column, Number):
        error, plain = ((decided - truth) ** 2).mean(), ((column.mean - truth) ** 2).mean()
        return float(np.sqrt(error)) / column.deviation, float(np.sqrt(plain)) / column.deviation
    return float((decided != truth).mean()), float((truth != column.frequencies.argmax()).mean())


def _of(predicted: Predicted, rows: np.ndarray) -> Predicted:
    return Predicted(*(values[rows] for values in predicted))
