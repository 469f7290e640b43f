"""Filling gaps: isthmus beside mean or mode, regressions and iterated forests, where the gaps are known.

    python benchmarks/imputation.py [--sets diamonds,adult,penguins,thyroid] [--seeds 0,1,2] [--methods isthmus,missforest]

Each cell is hidden with probability .3 (--share). The error of a column is, for numbers, the root mean squared error over that
of the mean, for categories the share of wrong answers over that of the mode; printed is its mean over the columns. Coverage is
the share of hidden numbers within the 90 % intervals, the mean over the columns; numbers that follow from a column their row
shows have no interval to be in, and do not count. CPU seconds are of fit and transform.
"missforest" is the scheme of Stekhoven and Buehlmann (2012): a random forest a column (40 trees), three rounds; "iterative"
is scikit-learn's IterativeImputer; "isthmus_unpolished" is without boosted trees.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd

import isthmus as ist

ADULT = (
    "age workclass fnlwgt education education_num marital occupation relationship race sex "
    "capital_gain capital_loss hours country income"
)


def load(name: str) -> pd.DataFrame:
    """Return at most 5,000 complete rows; text stays text, numbers become floats."""
    if name == "adult":
        columns = ADULT.split()
        table = pd.read_csv(datasets.DATA / "adult/adult.data", names=columns, skipinitialspace=True, na_values="?")
        table = table.dropna().drop(columns="fnlwgt")
    elif name == "thyroid":
        table = pd.read_csv(datasets.DATA / "thyroid/ann-train.data", header=None, sep=r"[,\s]+", engine="python")
        table = table.dropna(axis=1, how="all")
        table.columns = [f"c{place}" for place in range(table.shape[1])]
        for column in table:
            if table[column].nunique() <= 3:
                table[column] = "v" + table[column].astype(str)
        table = table[[column for column in table if table[column].nunique() > 1]]
    else:
        table = pd.read_csv(datasets.DATA / f"seaborn_tables/{name}.csv").dropna()
    table = table.sample(min(5000, len(table)), random_state=0).reset_index(drop=True)
    numeric = {column: pd.api.types.is_numeric_dtype(table[column]) for column in table}
    return pd.DataFrame({column: table[column].astype(float if numeric[column] else object) for column in table})


def hide(table: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Return which cells to hide, (n, k): each with this probability, with a little less where rows would be emptied."""
    rng = np.random.default_rng(100 + seed)
    hidden = rng.random(table.shape) < share
    hidden[np.arange(len(table)), rng.integers(0, table.shape[1], len(table))] &= rng.random(len(table)) < 0.5
    return hidden


def numbers_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the numeric columns."""
    return [column for column in table if pd.api.types.is_numeric_dtype(table[column])]


def error(table: pd.DataFrame, filled: pd.DataFrame, hidden: np.ndarray) -> float:
    """Return the mean over the columns of the error relative to mean or mode."""
    errors = []
    for place, column in enumerate(table):
        truth, guess = table[column].to_numpy(), filled[column].to_numpy()
        cells, seen = hidden[:, place], table[column][~hidden[:, place]]
        if column in numbers_of(table):
            wrong = np.square(guess[cells].astype(float) - truth[cells]).mean()
            errors.append(float(np.sqrt(wrong / np.square(truth[cells] - seen.mean()).mean())))
        else:
            mode = float((truth[cells] != seen.mode()[0]).mean())
            wrong = float((guess[cells].astype(str) != truth[cells].astype(str)).mean())
            errors.append(wrong / mode if mode > 0.005 else 1.0)
    return float(np.mean(errors))


def mean_or_mode(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill every gap alike."""
    numbers = numbers_of(table)
    return table.apply(lambda column: column.fillna(column.mean() if column.name in numbers else column.mode()[0]))


def iterative(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill by scikit-learn's IterativeImputer on the one-hot table."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import BayesianRidge

    numbers = numbers_of(table)
    mean, deviation = table[numbers].mean(), table[numbers].std()
    hots = {column: pd.get_dummies(table[column], dtype=float) for column in table if column not in numbers}
    for column, hot in hots.items():
        hot[table[column].isna()] = np.nan
    encoded = pd.concat([(table[numbers] - mean) / deviation, *hots.values()], axis=1)
    imputer = IterativeImputer(BayesianRidge(), max_iter=5, n_nearest_features=30, random_state=seed)
    filled = imputer.fit_transform(encoded.to_numpy())
    result = table.copy()
    result[numbers] = table[numbers].fillna(
        pd.DataFrame(filled[:, : len(numbers)] * deviation.to_numpy() + mean.to_numpy(), columns=numbers)
    )
    start = len(numbers)
    for column, hot in hots.items():
        most = hot.columns.to_numpy()[filled[:, start : start + hot.shape[1]].argmax(1)]
        result[column] = table[column].fillna(pd.Series(most))
        start += hot.shape[1]
    return result


def missforest(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill by forests, column by column, three times over."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    numbers, gaps = numbers_of(table), table.isna().to_numpy()
    start = mean_or_mode(table, seed)
    values = {c: None if c in numbers else pd.Categorical(start[c]).categories for c in table}
    x = np.column_stack([start[c] if values[c] is None else pd.Categorical(start[c]).codes for c in table]).astype(
        float
    )
    for turn in range(3):
        for place in np.argsort(gaps.sum(0)):
            rows, others = gaps[:, place], np.arange(x.shape[1]) != place
            common = {"n_estimators": 40, "random_state": turn, "n_jobs": 1}
            if values[table.columns[place]] is None:
                forest = RandomForestRegressor(min_samples_leaf=3, max_features=1 / 3, **common)
            else:
                forest = RandomForestClassifier(max_features="sqrt", **common)
            x[rows, place] = forest.fit(x[~rows][:, others], x[~rows, place]).predict(x[rows][:, others])
    found = {
        c: x[:, place] if values[c] is None else values[c].to_numpy()[x[:, place].astype(int)]
        for place, c in enumerate(table)
    }
    return table.fillna(pd.DataFrame(found))


def isthmus(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill by isthmus as it comes."""
    FITTED["isthmus"] = ist.Imputer(random_state=seed)
    return FITTED["isthmus"].fit_transform(table)


def isthmus_unpolished(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Fill by the networks and the linear answer alone."""
    return ist.Imputer(random_state=seed, polish=False).fit_transform(table)


FITTED: dict[str, ist.Imputer] = {}
"""The imputer of the last table, for its intervals."""
METHODS: dict[str, Callable[[pd.DataFrame, int], pd.DataFrame]] = {
    "mean_or_mode": mean_or_mode,
    "iterative": iterative,
    "missforest": missforest,
    "isthmus_unpolished": isthmus_unpolished,
    "isthmus": isthmus,
}


def coverage(table: pd.DataFrame, gappy: pd.DataFrame, hidden: np.ndarray) -> float:
    """Return the share of hidden numbers, but for certain ones, within the 90 % intervals: the mean over the columns."""
    found = FITTED["isthmus"].impute(gappy, draws=1)
    sources = {column.name: list(column.follows) for column in found.columns}
    shares = []
    for column in numbers_of(table):
        certain = gappy[sources[column]].notna().any(axis=1).to_numpy()
        cells = hidden[:, table.columns.get_loc(column)] & ~certain
        truth, slack = table[column][cells], 1e-6 * table[column].std()
        shares.append(
            ((truth >= found.low[column][cells] - slack) & (truth <= found.high[column][cells] + slack)).mean()
        )
    return float(np.mean(shares))


def main() -> None:
    """Fill every table by every method, and print errors, seconds and coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="diamonds,adult,penguins,thyroid")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warm = pd.DataFrame({"a": np.arange(50.0), "b": [None, "x"] * 25})  # what is imported late is imported here
    for method in (isthmus, missforest):
        method(warm.mask(hide(warm, 0.2, 0)), 0)
    for name in options.sets.split(","):
        results: dict[str, list[dict[str, Any]]] = {}
        for seed in map(int, options.seeds.split(",")):
            table = load(name)
            hidden = hide(table, options.share, seed)
            gappy = table.mask(hidden)
            for method in options.methods.split(","):
                started = time.process_time()
                filled = METHODS[method](gappy.copy(), seed)
                seconds = time.process_time() - started
                found = {"error": error(table, filled, hidden), "cpu": seconds}
                if method == "isthmus":
                    found["coverage"] = coverage(table, gappy, hidden)
                results.setdefault(method, []).append(found)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps({"set": name, "seed": seed, "method": method, **found}) + "\n")
        for method, found in results.items():
            means = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
            print(
                f"{name:10} {method:20} " + "  ".join(f"{key} {value:.3f}" for key, value in means.items()), flush=True
            )


if __name__ == "__main__":
    main()
