"""What eight members cost at once, beside one of them, and beside the same eight one after the other.

    OMP_NUM_THREADS=1 python benchmarks/many.py [--members 8] [--epochs 10] [--repeats 5] [--shapes 6] [--jobs 2]

Whole fits of ``fit_many`` and ``fit``, codec, judging and scoring included, on made-up data of 10 factors and noise; all
measured in turn, medians over the repeats. The last row is a table of five numbers and five categories, coded in 25 numbers.
The first table counts seconds of CPU in this process; the last column is what stacking is worth. ``--jobs`` adds the wall
time of as many processes, whose start is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

import isthmus as ist
from isthmus import lockstep

SHAPES = [
    # numbers of a sample, hidden layers, latent size, batch
    (10, (16,), 2, 32),
    (30, (64,), 16, 128),
    (30, (128,), 16, 128),
    (64, (128, 64), 16, 128),
    (100, (128,), 32, 256),
    (64, (256, 128), 16, 128),
]


def rows(n: int, d: int) -> np.ndarray:
    """Return (n, d) of ten factors and noise."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 10)) @ rng.normal(size=(10, d)) + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def members(count: int, hidden: tuple[int, ...], latent_dim: int, batch: int, epochs: int) -> list[ist.Autoencoder]:
    """Return members that differ in their seeds."""
    return [
        ist.Autoencoder(
            network=ist.MLP(hidden=hidden),
            latent_dim=latent_dim,
            batch_size=batch,
            max_epochs=epochs,
            early_stopping=False,
            random_state=seed,
            verbose=False,
        )
        for seed in range(count)
    ]


def table(n: int) -> pd.DataFrame:
    """Return n rows of five numbers and five categories of four kinds each, which quarter other sums of the factors."""
    X = rows(n, 10)
    kinds = {f"kind{j}": pd.qcut(X[:, 5 + j], 4, labels=list("abcd")).astype(str) for j in range(5)}
    return pd.DataFrame({**{f"number{j}": X[:, j] for j in range(5)}, **kinds})


def seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Return how long some work takes by a clock."""
    started = clock()
    work()
    return clock() - started


def compare(label: str, X: Any, make: Callable[[int], list[ist.Autoencoder]], count: int, repeats: int) -> str:
    """Return a line of the table: one, all at once, one after the other."""
    spent: dict[str, list[float]] = {"one": [], "stacked": [], "in turn": []}
    for _ in range(repeats):
        one, many, turn = (make(n) for n in (1, count, count))
        spent["one"].append(seconds(time.process_time, lambda one=one: one[0].fit(X)))
        spent["stacked"].append(seconds(time.process_time, lambda many=many: ist.fit_many(many, X)))
        spent["in turn"].append(seconds(time.process_time, lambda turn=turn: [ae.fit(X) for ae in turn]))
        engine = many[0].history_.engine
    one, stacked, turn = (median(values) for values in spent.values())
    return (
        f"| {label} | {many[0].batch_size} | {engine} | {one:.2f} | {stacked:.2f} | {turn:.2f} | {stacked / one:.1f} | "
        f"{turn / one:.1f} | {turn / stacked:.2f} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--work", type=float, default=None, help="stack up to so many operations a step, whatever it gains"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.work is not None:
        lockstep.WORK = options.work
    ist.fit_many(members(2, (8,), 2, 64, 1), rows(500, 10))  # what a first fit imports is not counted
    print("| network | batch | by | one, CPU s | at once | in turn | at once / one | in turn / one | gain |")
    print("|---|---|---|---|---|---|---|---|---|")
    for d, hidden, latent_dim, batch in SHAPES[: options.shapes]:
        label = "-".join(map(str, (d, *hidden, latent_dim, *reversed(hidden), d)))
        make = partial(members, hidden=hidden, latent_dim=latent_dim, batch=batch, epochs=options.epochs)
        print(compare(label, rows(10_000, d), make, options.members, options.repeats), flush=True)
    make = partial(members, hidden=(64,), latent_dim=8, batch=128, epochs=options.epochs)
    print(compare("numbers and categories", table(10_000), make, options.members, options.repeats), flush=True)
    if options.jobs > 1:
        d, *shape = SHAPES[1]
        X, walls = rows(10_000, d), {1: [], options.jobs: []}
        ist.fit_many(members(2, (8,), 2, 64, 1), rows(500, 10), n_jobs=options.jobs)  # starts the processes
        for _ in range(options.repeats):
            for jobs, wall in walls.items():
                many = members(options.members, *shape, 5 * options.epochs)
                wall.append(seconds(time.perf_counter, lambda many=many, jobs=jobs: ist.fit_many(many, X, n_jobs=jobs)))
        print(f"\nWall seconds of {options.members} members of the second row, {5 * options.epochs} epochs:")
        for jobs, wall in walls.items():
            print(f"n_jobs={jobs}: {median(wall):.2f} (least {min(wall):.2f})")


if __name__ == "__main__":
    main()
