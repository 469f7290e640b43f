"""Mixed tables through the shell and back: fit, encode, decode; then every kind of column beside PCA and mode or mean.

    python benchmarks/tables.py [--tables titanic,diamonds,thyroid0387,adult] [--latent auto] [--seed 0]

A fifth of the rows is kept from the training. Errors are in the table's own units: for numbers the root mean squared error
over that of the training mean, for categories and booleans the share that comes back right. PCA is that of the encoded table
at the same latent size, decoded by the same codec. Gaps count by how often a gap came back as a gap, and a value as a value.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

import isthmus as ist

TABLES = {
    "titanic": ("seaborn_tables/titanic.csv", []),
    "diamonds": ("seaborn_tables/diamonds.csv", []),
    "thyroid0387": ("thyroid/thyroid0387.data", ["--gaps", "?"]),
    "adult": ("adult/adult.data", ["--gaps", "?"]),
}


def isthmus(*arguments: object) -> None:
    """Run one command of the shell, as a user would."""
    subprocess.run([sys.executable, "-m", "isthmus", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def through_the_shell(name: str, latent: str, seed: int, folder: Path) -> tuple[pa.Table, pa.Table, pa.Table, float]:
    """Return training rows, test rows, what came back of them, and the seconds of the fit."""
    file, gaps = TABLES[name]
    table = ist.read(datasets.DATA / file, gaps=gaps[1:])
    order = np.random.default_rng(seed).permutation(len(table))
    train, test = table.take(order[len(table) // 5 :]), table.take(order[: len(table) // 5])
    ist.write(train, folder / "train.parquet")
    ist.write(test, folder / "test.parquet")
    size = [] if latent == "auto" else ["--latent-dim", latent]
    started = time.perf_counter()
    isthmus("fit", folder / "train.parquet", "-o", folder / "model", "--random-state", seed, *size)
    seconds = time.perf_counter() - started
    isthmus("encode", folder / "test.parquet", "-m", folder / "model", "-o", folder / "codes.parquet")
    isthmus("decode", folder / "codes.parquet", "-m", folder / "model", "-o", folder / "again.parquet")
    again = ist.read(folder / "again.parquet")
    if again.schema.names != test.schema.names or again.schema.types != test.schema.types:
        raise SystemExit(f"{name}: columns or dtypes did not come back as they were")
    return train, test, again, seconds


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers or times as float64, NaN at gaps."""
    if pt.is_temporal(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    return column.cast(pa.float64()).to_numpy().copy()


def compare(
    train: pa.Table, test: pa.Table, rivals: list[pa.Table], columns: list[str]
) -> dict[str, list[list[float]]]:
    """Return, for each kind of column, one row a column: a figure for each rival, and one for mean or mode."""
    kinds: dict[str, list[list[float]]] = {}
    for name in columns:
        truth, past = test[name], train[name]
        seen = np.asarray(truth.is_valid())
        if pt.is_integer(truth.type) or pt.is_floating(truth.type) or pt.is_temporal(truth.type):
            target, mean = numbers(truth), float(np.nanmean(numbers(past)))
            guesses = [np.nan_to_num(numbers(rival[name]), nan=mean) for rival in rivals]
            errors = [
                float(np.sqrt(np.mean((guess - target)[seen] ** 2))) for guess in [*guesses, np.full(len(target), mean)]
            ]
            kinds.setdefault("numbers: RMSE over that of the mean", []).append([e / errors[-1] for e in errors])
        else:
            values, counts = np.asarray(truth.to_pylist(), object), pc.value_counts(pc.drop_null(past)).to_pylist()
            mode = max(counts, key=lambda count: count["counts"])["values"]
            guesses = [np.asarray(rival[name].to_pylist(), object) for rival in rivals]
            label = "booleans: share right" if pt.is_boolean(truth.type) else "categories: share right"
            right = [float((guess == values)[seen].mean()) for guess in [*guesses, np.full(len(values), mode, object)]]
            kinds.setdefault(label, []).append(right)
        if not seen.all():
            kept = [float((np.asarray(rival[name].is_valid()) == seen).mean()) for rival in rivals]
            kinds.setdefault("gaps: share in place", []).append([*kept, float(max(seen.mean(), 1 - seen.mean()))])
    return kinds


def by_pca(ae: ist.Autoencoder, rows: pa.Table) -> pa.Table:
    """Return what PCA of the encoded table, at the same latent size, leaves of some rows."""
    x, observed = ae.codec_.encode(rows).take(slice(None))
    return ae.codec_.decode(ae.principal_.project(x, observed).numpy())


def main() -> None:
    """Send every table through the shell and print how it came back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--latent", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.tables.split(","):
        with tempfile.TemporaryDirectory() as folder:
            train, test, again, seconds = through_the_shell(name, options.latent, options.seed, Path(folder))
            ae = ist.load(Path(folder) / "model")
        print(f"{name}: {len(train)} rows, code of {ae.latent_dim_}, fit {seconds:.0f} s; columns and dtypes came back")
        kept = set(ae.cell_names_ or [])
        columns = [column for column in test.schema.names if column in kept]
        for kind, figures in compare(train, test, [again, by_pca(ae, test)], columns).items():
            ours, pca, plain = np.mean(figures, axis=0)
            print(
                f"  {kind:36} isthmus {ours:.4f}   PCA {pca:.4f}   mean or mode {plain:.4f}   ({len(figures)} columns)"
            )


if __name__ == "__main__":
    main()
