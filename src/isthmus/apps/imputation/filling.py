"""How gaps are filled: what follows from another column first, and every other cell by a mix of several answers.

observed cells -> Dependencies -> Conditionals -> linear, network --\\
                             \\                 \\-> kernel, trees ------> weights of the column -> expected value, or
                              \\-> groups of rows, if rows are few --/                             likeliest category
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from isthmus.apps.columns import Cells, Coding, Conditionals, Dependencies, Predicted, Recipe, learn
from isthmus.apps.columns.coding import Choice, Number
from isthmus.apps.columns.conditionals import cumulative, quantile
from isthmus.apps.columns.fitting import FEW
from isthmus.apps.imputation.blend import PRIOR, weigh
from isthmus.apps.imputation.boosting import Boosted, grow
from isthmus.apps.imputation.kernel import LANDMARKS, Kernel, fit_kernel
from isthmus.apps.imputation.location import Location, fit_location

FEWEST = 30
"""Observed cells below which a column gets no trees, and rows below which there is no training."""

NETWORK = 1
"""Where its answer stands among all."""

DECAY = 1.0
"""Of the weights of networks that kernels and trees correct; these need no residual block either."""

KEPT = 2**24
"""The most numbers of landmarks that are kept, of all columns together (64 MiB); very many columns get no kernels."""

NUMBER, CATEGORY, OWN = 0.7, 0.85, 2.0
"""Units of the kernel: of a normal score, of a category's probability, and of those the network gives the column itself."""

LEAST_SPREAD = 0.02
"""Added to the deviation of what networks say of a number, in its standard deviations."""

TRUSTED = 1000
"""The most judged cells that equal weights of network, kernel and trees count as: they are about as good, and differ."""

LARGE = 1000
"""Observed cells from which on the trees of a column are judged on one fold."""


@dataclass(frozen=True, eq=False)
class Column:
    """What was found out about one column on cells that were hidden from the members that judged them."""

    weights: np.ndarray
    """Of the linear answer, the network and, if there are any, groups, kernel and trees: (a,)."""
    error: float
    """Root mean squared error (standardised) of a number, share of wrong answers of a category."""
    plain: float
    """The same of the mean, or the most frequent category."""
    judged: int
    """On how many cells."""
    misses: np.ndarray
    """(m,), sorted: how far from the median, in probability, an interval must reach to cover each cell; numbers only."""
    kernel: Kernel | None = None
    trees: Boosted | None = None


@dataclass(frozen=True, eq=False)
class Filling:
    """A fitted filling: cells with gaps in, cells without out."""

    model: Conditionals
    columns: tuple[Column, ...]
    dependencies: Dependencies
    location: Location | None = None

    @property
    def coding(self) -> Coding:
        return self.model.coding

    def encode(self, X: Any) -> tuple[Cells, np.ndarray]:
        """Return the cells of a table, gaps that follow from another column filled, and these in the table's units (n, k)."""
        return self.dependencies.fill(self.coding.encode(X), self.coding.exact(X))

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
            shown = Cells(cells.values[gaps], cells.observed[gaps])
            if column.kernel is not None:
                more = column.kernel.predict(features(self.model, shown, there, place))
                answers = _beside(answers, answers[:, :, NETWORK] + more)
            if column.trees is not None:
                beside = surroundings(self.model, shown, there, place, self.dependencies.sources[place])
                answers = _beside(answers, column.trees.predict(beside, self.coding.columns[place].width))
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


def fit_filling(
    coding: Coding, cells: Cells, exact: np.ndarray, polish: bool, seed: int
) -> tuple[Filling, list[float]]:
    """Train the members, then weigh the answers on what each member held out.

    ``exact`` (n, k) are the cells in units of the table.
    """
    dependencies = Dependencies.of(cells, exact)
    shown = cells
    cells, _ = dependencies.fill(shown, exact)
    rows = len(cells.values)
    recipe = Recipe.of(coding, rows)
    if rows >= FEW:
        recipe = recipe._replace(blocks=0, decay=DECAY)
    fitted = learn(coding, cells, recipe if rows >= FEWEST else recipe._replace(steps=0), seed, dependencies)
    model = Conditionals(coding, fitted.network)
    location = fit_location(coding, cells, fitted.judge, seed) if FEWEST <= rows < FEW else None
    judge = _Judge(model, cells, shown, exact, fitted.judge, dependencies, location, polish, seed)
    columns = tuple(judge.weigh(place) for place in range(len(coding.columns)))
    return Filling(model, columns, dependencies, location), fitted.losses


@dataclass(frozen=True, eq=False)
class _Judge:
    """Hides columns, one at a time, and weighs what is said of them by those that have not seen the row."""

    model: Conditionals
    cells: Cells
    """With what follows filled in."""
    shown: Cells
    """Without."""
    exact: np.ndarray
    """(n, k) in units of the table."""
    by: np.ndarray
    """(n,) the member that has not seen the row, -1 where all have."""
    dependencies: Dependencies
    location: Location | None
    polish: bool
    seed: int

    def weigh(self, place: int) -> Column:
        """Return what a column is filled by."""
        coding, cells = self.model.coding, self.cells
        seen = np.flatnonzero(cells.observed[:, place])
        corrected = FEWEST <= len(seen) < len(cells.observed)  # a column without gaps is left to the networks
        has_trees = self.polish and corrected
        if not has_trees:
            seen = seen[self.by[seen] >= 0]
        sources = self.dependencies.sources[place]
        hidden, by = self._without(sources, place, seen), self.by[seen]
        observed = hidden.observed
        predicted = self.model.predict(self.model.rows(hidden), observed, by)
        truth, column = cells.values[seen, place], coding.columns[place]
        grouped = None if self.location is None else self.location.predict(coding, hidden, by)
        goal, kernel, trees = _goal(coding, place, truth), None, None
        answers = _answers(self.model, predicted, place, grouped)
        if corrected and len(cells.values) >= FEW:
            network, x = answers[:, :, NETWORK], features(self.model, hidden, predicted, place)
            landmarks = min(LANDMARKS, KEPT // (len(coding.columns) * x.shape[1]))
            if landmarks >= FEWEST:
                kernel, said = fit_kernel(x, goal - network, _unit(x, column), self.seed, landmarks)
                answers = _beside(answers, network + said)
        if has_trees:
            beside = surroundings(self.model, hidden, predicted, place, sources)
            told = goal[:, 0] if isinstance(column, Number) else truth
            trees, said = _cross_grown(beside, told, column, by, self.seed)
            answers = _beside(answers, said)
        honest = (by >= 0) & np.isfinite(answers).all((1, 2))
        others = answers.shape[2] - 1
        before = np.array([0.0, *[1 / others] * others])  # the linear answer is in the network
        prior = PRIOR if kernel is None else int(np.clip(honest.sum(), PRIOR, TRUSTED))
        weights = weigh((answers - goal[:, :, None])[honest], before, prior)
        error, plain = _errors(coding, place, _decided(coding, place, answers[honest] @ weights), truth[honest])
        misses = self._misses(column, predicted.chances[:, self.model.columns(place)], truth, by >= 0)
        return Column(weights, error, plain, int(honest.sum()), misses, kernel, trees)

    def _without(self, sources: np.ndarray, place: int, rows: np.ndarray) -> Cells:
        """Return some rows without a column and those it follows from, and without what follows from these alone."""
        shown = Cells(self.shown.values[rows], self.shown.observed[rows] & ~sources)
        values, observed = self.dependencies.fill(shown, self.exact[rows])[0]
        observed[:, place] = False
        return Cells(np.where(observed, values, 0), observed)

    def _misses(
        self, column: Number | Choice, chances: np.ndarray, truth: np.ndarray, judged: np.ndarray
    ) -> np.ndarray:
        """Return how far from the median an interval of a number must reach; trees may have judged fewer rows than networks."""
        if not isinstance(column, Number):
            return np.zeros(0)
        low, high = cumulative(column, chances[judged], truth[judged])
        return np.sort(np.maximum(0, np.maximum(0.5 - high, low - 0.5)))


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


def features(model: Conditionals, cells: Cells, predicted: Predicted, place: int) -> np.ndarray:
    """Return what the kernel of one column compares rows by, (n, d) float32.

    The other columns, a gap as what the network makes of it, and the network's answer. Two rows with different categories are
    about as far apart in that column as two with random numbers are in another.
    """
    coding, n = model.coding, len(model.coding.numbers)
    numbers = coding.scores(np.where(cells.observed, cells.values, guesses(model, predicted)))
    beside = [NUMBER * numbers[:, np.arange(n) != place]]
    for other in range(n, len(coding.columns)):
        if other != place:
            hot = cells.values[:, other, None] == np.arange(coding.columns[other].width)
            chances = predicted.chances[:, model.columns(other)]
            beside.append(CATEGORY * np.where(cells.observed[:, other, None], hot, chances))
    if place < n:
        own = predicted.means[:, place : place + 1]
    else:
        own = OWN * predicted.chances[:, model.columns(place)]
    return np.concatenate([*beside, own], 1).astype(np.float32)


def _unit(x: np.ndarray, column: Number | Choice) -> np.ndarray:
    """Return what features are multiplied by, (d,): the network's answer for a number spreads as far as other numbers do."""
    unit = np.ones(x.shape[1], np.float32)
    if isinstance(column, Number):
        unit[-1] = 1 / (x[:, -1].std() + LEAST_SPREAD)
    return unit


def surroundings(
    model: Conditionals, cells: Cells, predicted: Predicted, place: int, sources: np.ndarray
) -> np.ndarray:
    """Return what the trees for one column see: the others as observed (NaN at gaps), filled, and the network's answer.

    The gaps of the others are filled without the column, so that nothing of the truth leaks; ``sources`` (k,), from which it
    follows, are gaps throughout.
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
    return np.concatenate([gaps[:, ~sources], spread[:, others], own], 1).astype(np.float64)


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


def _beside(answers: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return answers (n, c, a) and one more (n, c)."""
    return np.concatenate([answers, more[:, :, None]], 2)


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
