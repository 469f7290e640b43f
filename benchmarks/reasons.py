"""Whether a detector blames the right column: one cell of a held-out row is replaced, then ``explain`` is asked.

    python benchmarks/reasons.py [--explainers isthmus,z-score,tail,trees] [--sets adult,thyroid] [--rows 300] [--again isthmus]

A fifth of a table is held out; everybody learns from at most 10,000 of the other rows. Of the held-out rows, as they are,
``--rows`` are drawn for each kind of injection, and in each of them one cell that is no gap, in a column drawn uniformly:

* far: a number beyond all of training: max + U(1, 3) IQR or min - U(1, 3) IQR by a coin; where IQR = 0 the standard deviation.
* category: another one, drawn uniformly from those of the training rows. Many are plausible (the other sex): none finds all.
* inside: a number of another training row, at least one IQR (or standard deviation) away: odd only beside the others.

Whole numbers stay whole. Columns with a single value are left out. Reported: the share of the rows whose replaced column is
ranked first, and among the first three; the same where the kind is told, so that only columns which take it are ranked; and
the same of those rows alone that come below p = .05 by the injection, for one that makes a row no odder cannot be found by
anybody who looks for what is odd. Two baselines judge each column by itself, a category or a gap by -log frequency:

* z-score: a number by z^2 / 2, z = |x - median| / (1.4826 MAD); where MAD = 0 by mean and standard deviation.
* tail: a number by -log of the share of the training rows at least as far out, on its side of the median. What is far has the
  greatest value there is, so that this one answers that question by construction.

How good anybody could be is asked of trees, and is no baseline, for they know how cells are replaced:

* trees: Bayes' rule for just these injections, p(column | all others) by gradient-boosted trees, one model a column: columns
  by the probability that theirs is the cell. Given the true distributions no ranking is better. "Foreseen" is the share that
  the trees themselves expect to rank first, told the kind; where that comes true, their probabilities can be believed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.types as pt
import rivals
from rivals import Ledger

import isthmus as ist

LARGEST = 10_000
FLAGGED = 0.05
"""A p-value below it counts as flagged."""
KINDS = ("far", "category", "inside")
BINS = 24
BIN_EDGES = np.linspace(0, 1, BINS + 1)[1:-1]
"""Trees tell so many bins of a number apart."""
FEWEST = 3
"""Values that fewer training rows hold are not learned."""
SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    # file, columns left out
    "adult": ("adult/adult.data", ()),
    "thyroid": ("thyroid/thyroid0387.data", ("column_30",)),  # diagnosis with the number of the record
    "diamonds": ("seaborn_tables/diamonds.csv", ()),
}

Columns = dict[str, np.ndarray]
"""A table: numbers as float64 with NaN at gaps, everything else as text with None."""
Rank = Callable[[pa.Table], list[dict[str, float]]]
"""A table -> for each row how odd it finds each of its columns, oddest first."""


class Case(NamedTuple):
    """Training rows, rows as they are and with one cell replaced, and the column of that cell, row by row."""

    train: pa.Table
    clean: pa.Table
    test: pa.Table
    guilty: list[str]


def columns_of(table: pa.Table) -> Columns:
    """Return the columns of a table."""
    return {
        name: column.cast(pa.float64()).to_numpy().copy()
        if is_number(column.type)
        else np.array(column.cast(pa.string()).to_pylist(), object)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds numbers."""
    return pt.is_integer(kind) or pt.is_floating(kind)


def table_of(columns: Columns, like: pa.Table) -> pa.Table:
    """Return columns as a table with the types of another."""
    arrays = [pa.array(columns[field.name], from_pandas=True).cast(field.type) for field in like.schema]
    return pa.table(arrays, schema=like.schema)


def case(name: str, kind: str, rows: int, seed: int) -> Case:
    """Return a case; the split depends on the seed alone, so that all kinds share it."""
    file, without = SETS[name]
    table = ist.read(datasets.DATA / file, gaps=["?"]).drop_columns(list(without))
    order = np.random.default_rng(seed).permutation(table.num_rows)
    held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]
    train = table.take(rest[:LARGEST])
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    before = table.take(rng.permutation(held_out)[:rows])
    past, clean = columns_of(train), columns_of(before)
    allowed = [column for column in past if _allows(past[column], kind)]
    guilty = []
    for row in range(rows):
        column = str(rng.choice([column for column in allowed if not _is_gap(clean[column][row])]))
        value = _draw(past[column], clean[column][row], kind, rng)
        clean[column][row] = np.rint(value) if pt.is_integer(table.schema.field(column).type) else value
        guilty.append(column)
    return Case(train, before, table_of(clean, table), guilty)


def _is_gap(value: Any) -> bool:
    return value is None or value != value


def _allows(past: np.ndarray, kind: str) -> bool:
    """Say whether a column takes this kind of injection: its type, and at least two values."""
    seen = {value for value in past.tolist() if not _is_gap(value)}
    return (past.dtype == object) == (kind == "category") and len(seen) > 1


def _draw(past: np.ndarray, value: Any, kind: str, rng: np.random.Generator) -> Any:
    """Return what replaces a value."""
    if kind == "category":
        return rng.choice(sorted({other for other in past if other is not None and other != value}))
    past = past[~np.isnan(past)]
    step = float(np.subtract(*np.percentile(past, [75, 25]))) or float(past.std())
    if kind == "far":
        distance = rng.uniform(1, 3) * step
        return past.max() + distance if rng.random() < 0.5 else past.min() - distance
    return rng.choice(past[abs(past - value) >= min(step, abs(past - value).max())])


def by_column(surprise: Callable[[np.ndarray, np.ndarray], np.ndarray], train: pa.Table) -> Rank:
    """Return the ranking of a baseline that judges each column by itself; ``surprise`` does so for numbers."""
    past = columns_of(train)

    def rank(rows: pa.Table) -> list[dict[str, float]]:
        found = np.stack(
            [
                _rarity(past[name], values) if values.dtype == object else _number(surprise, past[name], values)
                for name, values in columns_of(rows).items()
            ],
            axis=1,
        )
        return _ranked(rows.column_names, found)

    return rank


def _ranked(names: Sequence[str], found: np.ndarray) -> list[dict[str, float]]:
    """Return each line of (n, columns) by name, the largest first; NaN is left out."""
    orders = np.argsort(-found, axis=1, kind="stable")
    return [
        {names[place]: float(line[place]) for place in order if line[place] == line[place]}
        for line, order in zip(found, orders, strict=True)
    ]


def _rarity(past: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return -log of how often each value stands in the training rows, one more counted than there are."""
    kinds, counts = np.unique(past.astype(str), return_counts=True)
    often = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    return -np.log([(often.get(value, 0) + 1) / (len(past) + 1) for value in values.astype(str).tolist()])


def _number(surprise: Callable, past: np.ndarray, values: np.ndarray) -> np.ndarray:
    gaps, seen = np.isnan(values), past[~np.isnan(past)]
    found = np.full(len(values), -np.log((len(past) - len(seen) + 1) / (len(past) + 1)))
    found[~gaps] = surprise(seen, values[~gaps])
    return found


def z_score(past: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return z^2 / 2 of the robust z-score: -log of a normal density, but for its constant."""
    middle, scale = np.median(past), 1.4826 * np.median(abs(past - np.median(past)))
    if scale == 0:
        middle, scale = past.mean(), past.std() or 1.0
    return ((values - middle) / scale) ** 2 / 2


def tail(past: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return -log of the share of the training rows that lie at least as far out, on the value's side of the median."""
    ordered, n = np.sort(past), len(past)
    above = n - np.searchsorted(ordered, values, "left")
    below = np.searchsorted(ordered, values, "right")
    return -np.log((np.where(values >= np.median(past), above, below) + 1) / (n + 1))


class ByIsthmus:
    """The ranking of ``AnomalyDetector.explain``, and what its detector says of rows."""

    def __init__(self, train: pa.Table, seed: int) -> None:
        self.detector = ist.AnomalyDetector(random_state=seed).fit(train)

    def __call__(self, rows: pa.Table) -> list[dict[str, float]]:
        reasons = self.detector.explain(rows, top=rows.num_columns)
        return [{column.name: column.relief for column in reason.columns} for reason in reasons]

    def noticed(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows score higher for the injection, and which reach p < ``FLAGGED`` by it alone."""
        before, after = self.detector.p_values(case.clean), self.detector.p_values(case.test)
        raised = self.detector.anomaly_score(case.test) > self.detector.anomaly_score(case.clean)
        return raised, (after < FLAGGED) & (before >= FLAGGED)


class ByTrees:
    """The Bayes posterior of the replaced column, from boosted trees; kinds are equally frequent, columns within a kind too."""

    def __init__(self, train: pa.Table, seed: int) -> None:
        past = columns_of(train)
        self.names, self.codes = list(past), {name: _codes(values) for name, values in past.items()}
        x = self._numbers(past)
        self.is_category = np.array([values.dtype == object for values in past.values()])
        self.columns = [
            _Conditional(x, place, self.is_category, seed) if _allows(past[name], KINDS[int(is_category)]) else None
            for place, (name, is_category) in enumerate(zip(self.names, self.is_category, strict=True))
        ]

    def _numbers(self, columns: Columns) -> np.ndarray:
        """Return (n, columns) numbers as they are, of categories their place; NaN at gaps."""
        return np.stack(
            [
                np.array([self.codes[name].get(value, np.nan) for value in values])
                if values.dtype == object
                else values
                for name, values in columns.items()
            ],
            axis=1,
        )

    def __call__(self, rows: pa.Table) -> list[dict[str, float]]:
        x = self._numbers(columns_of(rows))
        asked = np.array([column is not None for column in self.columns])
        found = np.full(x.shape, np.nan)
        for place in np.flatnonzero(asked):
            kinds = 1 if self.is_category[place] else 2
            prior = kinds / len(KINDS) / (asked & (self.is_category == self.is_category[place])).sum()
            found[:, place] = np.log(prior) + self.columns[place].log_odds(x)
        return _ranked(self.names, found)


class _Conditional:
    """p(column | all others) by boosted trees, and what replaces its values; a number is one of at most 24 bins."""

    def __init__(self, x: np.ndarray, place: int, is_category: np.ndarray, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        known = ~np.isnan(x[:, place])
        self.others, self.place, self.is_number = np.arange(x.shape[1]) != place, place, not is_category[place]
        self.values = values = x[known, place]
        inner = np.unique(values)
        if len(inner) > BINS:
            inner = np.unique(np.quantile(values, BIN_EDGES, method="inverted_cdf"))
        self.edges = inner[inner > values.min()]
        classes = self._classes(values)
        counts = np.bincount(classes)
        self.shares = counts / len(classes)
        taught = counts[classes] >= FEWEST
        self.taught = np.unique(classes[taught])
        trees = HistGradientBoostingClassifier(
            learning_rate=0.06,
            max_iter=120,
            max_leaf_nodes=12,
            min_samples_leaf=10,
            l2_regularization=3.0,
            early_stopping=True,
            n_iter_no_change=8,
            categorical_features=is_category[self.others],
            random_state=seed,
        )
        self.trees = trees.fit(x[known][taught][:, self.others], classes[taught]) if len(self.taught) > 1 else None

    def _classes(self, values: np.ndarray) -> np.ndarray:
        return (
            np.searchsorted(self.edges, values, side="right") if self.is_number else np.nan_to_num(values).astype(int)
        )

    def log_odds(self, x: np.ndarray) -> np.ndarray:
        """Return (n,) the log odds that the cell was replaced rather than none, but for the prior; NaN at gaps."""
        own, bins, each = x[:, self.place], self._classes(x[:, self.place]), np.arange(len(x))
        chances = np.zeros((len(x), len(self.shares)))
        chances[:, self.taught] = 1.0 if self.trees is None else self.trees.predict_proba(x[:, self.others])
        doubt = 2 / len(self.values)
        chances = (1 - doubt) * chances + doubt * (self.shares + 1 / len(self.shares)) / 2
        p = chances[each, bins]
        odds = (1 - p) / (len(self.shares) - 1) / p
        if self.is_number:
            step = float(np.subtract(*np.percentile(self.values, [75, 25]))) or float(self.values.std())
            classes = self._classes(self.values)
            middle = np.array([np.median(self.values[classes == place]) for place in range(len(self.shares))])
            away = np.abs(middle[:, None] - self.values) >= step
            drawn = (chances / np.maximum(away.mean(1), 1 / len(self.values))) * (np.abs(own[:, None] - middle) >= step)
            is_far = (own > self.values.max()) | (own < self.values.min())
            odds = np.where(is_far, 1 / doubt, np.maximum(drawn.sum(1), doubt) * self.shares[bins] / p) / 2
        return np.where(np.isnan(own), np.nan, np.log(odds))


def _codes(values: np.ndarray) -> dict[Any, int]:
    """Return the place of each category."""
    return {value: place for place, value in enumerate(sorted({each for each in values.tolist() if not _is_gap(each)}))}


EXPLAINERS: dict[str, Callable[[pa.Table, int], Rank]] = {
    rivals.OURS: ByIsthmus,
    "z-score": lambda train, seed: by_column(z_score, train),
    "tail": lambda train, seed: by_column(tail, train),
    "trees": ByTrees,
}


def measure(label: str, name: str, rows: int, seed: int) -> dict[str, Any]:
    """Learn once from a set, then ask about every kind of injection."""
    cases = {kind: case(name, kind, rows, seed) for kind in KINDS}
    started = time.process_time()
    rank = EXPLAINERS[label](cases["far"].train, seed)
    learned = time.process_time()
    line: dict[str, Any] = {}
    explained = 0.0
    for kind, each in cases.items():
        asked = time.process_time()
        rankings = rank(each.test)
        explained += time.process_time() - asked
        hits = hits_of(rankings, each.guilty)
        line[kind] = [round(float(np.mean(hit)), 4) for hit in hits]
        past = columns_of(each.train)
        told = [{name: odd for name, odd in line.items() if _allows(past[name], kind)} for line in rankings]
        line[f"{kind}_told"] = [round(float(np.mean(hit)), 4) for hit in hits_of(told, each.guilty)]
        if isinstance(rank, ByTrees):
            line[f"{kind}_foreseen"] = round(float(np.mean([_first_of(odds) for odds in told])), 4)
        if isinstance(rank, ByIsthmus):
            raised, flagged = rank.noticed(each)
            found = [int(np.sum(np.array(hit)[flagged])) for hit in hits]
            line[f"{kind}_noticed"] = [round(float(raised.mean()), 4), int(flagged.sum()), *found]
    return line | {"fit": round(learned - started, 3), "explain": round(explained, 3)}


def hits_of(rankings: Sequence[dict[str, float]], guilty: Sequence[str]) -> list[list[bool]]:
    """Return for each row whether the column is first, and whether it is among the first three."""
    return [[who in list(each)[:count] for each, who in zip(rankings, guilty, strict=True)] for count in (1, 3)]


def _first_of(odds: dict[str, float]) -> float:
    """Return the probability of the likeliest of some columns, of which one is it, by their log odds."""
    values = np.array(list(odds.values()))
    return float(1 / np.exp(values - values.max()).sum())


def show(lines: Sequence[dict[str, Any]], labels: Sequence[str]) -> None:
    """Print the shares, means over the seeds."""
    print(
        "| set | explainer | " + " | ".join(f"{kind}: first | first three" for kind in KINDS) + " | fit s | explain s |"
    )
    print("|---" * (2 * len(KINDS) + 4) + "|")
    for name in dict.fromkeys(line["set"] for line in lines):
        for label in labels:
            mine = [line for line in lines if line["set"] == name and line["detector"] == label]
            shares = np.mean([[line[kind] for kind in KINDS] for line in mine], axis=0).ravel()
            spent = [np.mean([line[key] for line in mine]) for key in ("fit", "explain")]
            figures = [*(f"{share:.1%}" for share in shares), *(f"{seconds:.2f}" for seconds in spent)]
            print(f"| {name} | {label} | " + " | ".join(figures) + " |")


def show_told(lines: Sequence[dict[str, Any]], labels: Sequence[str]) -> None:
    """Print the shares where the kind is told, and what the trees expect of themselves."""
    print(
        "\n| set, told the kind | explainer | "
        + " | ".join(f"{kind}: first | first three | foreseen" for kind in KINDS)
    )
    print("|---" * (3 * len(KINDS) + 2) + "|")
    for name in dict.fromkeys(line["set"] for line in lines):
        for label in labels:
            mine = [line for line in lines if line["set"] == name and line["detector"] == label]
            cells = []
            for kind in KINDS:
                cells += [f"{share:.1%}" for share in np.mean([line[f"{kind}_told"] for line in mine], axis=0)]
                foreseen = [line[f"{kind}_foreseen"] for line in mine if f"{kind}_foreseen" in line]
                cells.append(f"{np.mean(foreseen):.1%}" if foreseen else "")
            print(f"| {name} | {label} | " + " | ".join(cells) + " |")


def show_noticed(lines: Sequence[dict[str, Any]]) -> None:
    """Print what the detector notices of the injections at all, and how the reasons fare where it does."""
    print("\n| set | kind | score raised | flagged by it | of these: first | first three |\n|---|---|---|---|---|---|")
    for name in dict.fromkeys(line["set"] for line in lines):
        mine = [line for line in lines if line["set"] == name and f"{KINDS[0]}_noticed" in line]
        for kind in KINDS if mine else ():
            raised, flagged, first, three = np.array([line[f"{kind}_noticed"] for line in mine]).T
            asked, many = sum(line["rows"] for line in mine), max(flagged.sum(), 1)
            shares = f"{first.sum() / many:.1%} | {three.sum() / many:.1%}"
            print(f"| {name} | {kind} | {raised.mean():.1%} | {flagged.sum() / asked:.1%} | {shares} |")


def main() -> None:
    """Compute what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explainers", default=",".join(EXPLAINERS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", type=int, default=300, help="rows of each kind of injection")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", default="", help="comma list of explainers whose lines are forgotten")
    parser.add_argument("--out", type=Path, default=Path("reasons.jsonl"))
    options = parser.parse_args()
    ledger = Ledger(options.out, ("detector", "set", "rows", "seed"), options.again)
    labels, wanted = options.explainers.split(","), []
    for name in options.sets.split(","):
        for seed in range(options.seeds):
            for label in labels:
                compute = partial(measure, label, name, options.rows, seed)
                wanted.append(ledger.once(compute, detector=label, set=name, rows=options.rows, seed=seed))
    show(wanted, labels)
    show_told(wanted, labels)
    show_noticed(wanted)


if __name__ == "__main__":
    main()
