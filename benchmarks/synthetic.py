"""Synthetic rows of mixed tables, judged by rows that nobody has learned from.

    python benchmarks/synthetic.py [--sets adult,diamonds] [--seeds 0,1,2] [--methods isthmus,copula] [--out results.jsonl]

adult: 10,000 rows of the training file, judged by the test file, target income. diamonds: 8,000 rows, judged by 8,000 others,
target "price above 2,401" in place of the price. penguins: 166 rows, judged by 167, target sex. Rows with gaps are left out.

shapes, pairs: how alike single columns and pairs are to held-out rows (SDMetrics' definitions), 1 at best. told: AUC with which
boosted trees tell held-out rows from synthetic ones, .5 at best. taught: AUC of trees taught by synthetic rows on held-out
ones. closest: share of rows nearer to a training row than to a held-out one, .5 where nothing is copied. "real" are the
training rows themselves, "bootstrap" copies of them, "copula" a Gaussian copula; "tvae" needs the package ctgan (its default
settings, numbers rounded and clipped as SDV does around it, but 60 epochs, 300 for penguins); "autoencoder" is
`ist.variational().fit(table).sample(n)`. One core.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
from imputation import ADULT, numbers_of

import isthmus as ist
from isthmus.apps.synthesis import scores

TARGETS = {"adult": "income", "diamonds": "price_high", "penguins": "sex"}


def load(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and held-out rows; whole numbers are integers."""
    if name == "adult":
        train, test = (adult(part) for part in ("data", "test"))
        train = train.sample(10_000, random_state=0)
        test["income"] = test["income"].str.rstrip(".")
    elif name == "diamonds":
        table = pd.read_csv(datasets.DATA / "seaborn_tables/diamonds.csv").sample(16_000, random_state=0)
        table["price_high"] = np.where(table.price > 2401, "yes", "no")
        table = table.drop(columns="price")
        train, test = table[:8000], table[8000:]
    else:
        table = pd.read_csv(datasets.DATA / "seaborn_tables/penguins.csv").dropna().sample(frac=1, random_state=0)
        train, test = table[:166], table[166:]
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    for column in numbers_of(train):
        whole = all((part[column] % 1 == 0).all() for part in (train, test))
        train, test = (part.astype({column: np.int64 if whole else float}) for part in (train, test))
    return train, test


def adult(part: str) -> pd.DataFrame:
    """Return a file of adult without the rows that have gaps."""
    table = pd.read_csv(
        datasets.DATA / f"adult/adult.{part}",
        names=ADULT.split(),
        skipinitialspace=True,
        na_values="?",
        skiprows=int(part == "test"),
    )
    return table.dropna()


def real(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The training rows themselves."""
    return table


def bootstrap(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Training rows drawn with replacement."""
    return table.sample(len(table), replace=True, random_state=seed).reset_index(drop=True)


def independent(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every column drawn by itself."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({column: rng.choice(table[column].to_numpy(), len(table)) for column in table})


def copula(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A Gaussian copula: normal scores of numbers, and of categories spread over the share they take."""
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    scores, back = [], []
    for column in table:
        values = table[column].to_numpy()
        if column in numbers_of(table):
            known = np.sort(values)
        else:
            frequent = table[column].value_counts()
            known = np.repeat(frequent.index.to_numpy(), frequent.to_numpy())
        first = {value: at for at, value in reversed(list(enumerate(known)))}
        count = table[column].value_counts()
        low = np.array([first[value] for value in values])
        share = (low + rng.random(len(values)) * count[values].to_numpy()) / len(values)
        scores.append(norm.ppf(np.clip(share, 1e-4, 1 - 1e-4)))
        back.append(known)
    covariance = np.corrcoef(scores)
    drawn = norm.cdf(rng.multivariate_normal(np.zeros(len(covariance)), covariance, len(table)))
    places = np.minimum((drawn * len(table)).astype(int), len(table) - 1)
    return pd.DataFrame(
        {column: known[places[:, at]] for at, (column, known) in enumerate(zip(table, back, strict=True))}
    )


def tvae(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The variational autoencoder of tables by Xu (2019)."""
    import torch
    from ctgan import TVAE

    torch.manual_seed(seed)
    np.random.seed(seed)
    model = TVAE(epochs=60 if len(table) > 1000 else 300, enable_gpu=False)
    model.fit(table, [column for column in table if column not in numbers_of(table)])
    drawn = model.sample(len(table))
    for column in numbers_of(table):
        decimals = next((d for d in range(7) if np.allclose(table[column], table[column].round(d), atol=1e-9)), 7)
        drawn[column] = drawn[column].astype(float).clip(table[column].min(), table[column].max()).round(decimals)
    return drawn.astype(table.dtypes)


def autoencoder(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Samples of a variational autoencoder of Isthmus, with all its defaults."""
    return ist.variational(random_state=seed).fit(table).sample(len(table), random_state=seed)


def isthmus(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Isthmus as it comes."""
    return ist.Synthesizer(random_state=seed).fit(table).sample(len(table), random_state=seed)


METHODS: dict[str, Callable[[pd.DataFrame, int], pd.DataFrame]] = {
    "real": real,
    "bootstrap": bootstrap,
    "independent": independent,
    "copula": copula,
    "tvae": tvae,
    "autoencoder": autoencoder,
    "isthmus": isthmus,
}


def figures(drawn: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, target: str) -> dict[str, float]:
    """Return what `isthmus.synthetic_quality` says of a table, without the rows it sets beside."""
    plain = scores.as_numbers([train, test, drawn])
    known, held, ours = plain.tables
    return {
        "shapes": scores.shapes(held, ours, plain.number),
        "pairs": scores.pairs(held, ours, plain.number),
        "told": scores.detection(held, ours, plain.number),
        "taught": scores.taught(ours, held, plain.number, plain.names.index(target)),
        "closest": scores.closest_share(known, held, ours, plain.number),
        "copies": scores.copies(known, held, ours),
    }


def main() -> None:
    """Synthesize every table by every method, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="adult,diamonds,penguins")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    isthmus(load("penguins")[0], 0)  # what is imported late is imported here
    for name in options.sets.split(","):
        train, test = load(name)
        for method in options.methods.split(","):
            found: list[dict[str, Any]] = []
            for seed in map(int, options.seeds.split(",")):
                if method == "real" and found:
                    continue
                started = time.process_time()
                drawn = METHODS[method](train, seed)[train.columns]
                seconds = time.process_time() - started
                found.append(figures(drawn, train, test, TARGETS[name]) | {"cpu": seconds})
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps({"set": name, "seed": seed, "method": method, **found[-1]}) + "\n")
            means = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
            print(
                f"{name:9} {method:12} " + "  ".join(f"{key} {value:.3f}" for key, value in means.items()), flush=True
            )


if __name__ == "__main__":
    main()
