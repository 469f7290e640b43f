"""The work that all contestants are given: the same rows, network, batches, epochs and rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from isthmus.errors import IsthmusError
from timing.clock import Predict, UnavailableError, Watch


class Net(NamedTuple):
    """Widths of the encoder; the decoder mirrors it. ReLU behind every hidden layer; code and output are linear."""

    width: int
    hidden: tuple[int, ...]
    latent: int

    @property
    def widths(self) -> list[int]:
        return [self.width, *self.hidden, self.latent, *reversed(self.hidden), self.width]

    @property
    def flops(self) -> int:
        """Operations to train on one row: three products a layer, but nobody needs the gradient of the input."""
        return 6 * sum(a * b for a, b in pairwise(self.widths)) - 2 * self.widths[0] * self.widths[1]

    def __str__(self) -> str:
        return "-".join(map(str, self.widths))


class Job(NamedTuple):
    """One training."""

    X: np.ndarray
    """(n, *shape) float32."""
    net: Net
    batch: int
    epochs: int
    rate: float = 1e-3
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.X) / self.batch)


Trainer = Callable[[Job, Watch], Predict]
"""Trains, tells the watch when an epoch ends, and returns the trained model's reconstruction."""


def table_job(n_rows: int = 20_000, epochs: int = 4) -> Job:
    """A small table: 30-64-16-64-30, batches of 128."""
    return Job(rows(n_rows, 30), Net(30, (64,), 16), 128, epochs)


def wide_job(n_rows: int = 10_000, epochs: int = 4) -> Job:
    """Small pictures: 784-256-64-256-784, batches of 256."""
    return Job(rows(n_rows, 784), Net(784, (256,), 64), 256, epochs)


def rows(n_rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Return standardised rows that a third as many factors explain, but for noise."""
    rng = np.random.default_rng(seed)
    factors = max(2, width // 3)
    X = rng.normal(size=(n_rows, factors)) @ rng.normal(size=(factors, width)) / math.sqrt(factors)
    X += 0.3 * rng.normal(size=X.shape)
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32)


def present(trainers: dict[str, Trainer], job: Job) -> tuple[dict[str, Trainer], dict[str, str]]:
    """Return those who can run here, and why the others cannot: each trains once on a few rows, which also warms it up."""
    small, here, reasons = job._replace(X=job.X[: 2 * job.batch], epochs=2), {}, {}
    for name, train in trainers.items():
        try:
            train(small, Watch())
        except (ImportError, UnavailableError, IsthmusError) as error:
            reasons[name] = str(error)
        else:
            here[name] = train
    return here, reasons


def squared_error(predict: Predict, X: np.ndarray) -> float:
    """Return the mean squared error of a number."""
    pieces = (X[start : start + 2048] for start in range(0, len(X), 2048))
    return float(sum(((predict(x) - x) ** 2).sum(dtype=np.float64) for x in pieces) / X.size)
