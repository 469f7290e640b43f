"""Case ``quality``: CPU seconds until the held-out error is as low as the tutorial loop's at its end, and as low as PCA's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
from sklearn.decomposition import PCA

from timing import libraries, loops, ours
from timing.clock import Predict, Watch, interleave, median, ratios, spent
from timing.job import Job, Net, Trainer, present, squared_error
from timing.report import Report
from timing.training import TUTORIAL

SETS: dict[str, tuple[Callable[[], np.ndarray], Net, int, int]] = {
    "digits": (lambda: datasets.load("digits"), Net(64, (128,), 8), 64, 40),
    "fashion_mnist": (lambda: datasets.load("fashion_mnist"), Net(784, (256,), 32), 128, 12),
    "diamonds": (lambda: datasets.load("diamonds"), Net(7, (64,), 3), 256, 12),
    "curved": (lambda: curved(50_000), Net(100, (128,), 10), 256, 12),
}
"""Rows, network, batch and epochs of each set."""
OURS = "isthmus"
MOST_ROWS_QUICK = 3_000


class Path(NamedTuple):
    """One training, watched."""

    seen: list[tuple[float, float]]
    """(CPU seconds, held-out error) after each epoch; ours also before the first, which is PCA by then."""
    end: tuple[float, float]
    """The same when the epochs of the set are over; ours when the fit is."""

    def until(self, error: float) -> float:
        """Return the CPU seconds after which the error was as low as this."""
        return min((seconds for seconds, seen in [*self.seen, self.end] if seen <= error), default=math.inf)


def quality(quick: bool, rounds: int) -> Iterator[Report]:
    """Every set, then the median speed-up over the sets."""
    faster: dict[str, dict[str, float]] = {}
    for name in SETS:
        report, faster[name] = _on(name, quick, rounds)
        yield report
    summary = Report(
        "quality", "quality: times faster to the tutorial loop's final error", ["trainer", "median", *SETS]
    )
    for who in dict.fromkeys(who for speed in faster.values() for who in speed):
        values = [speed.get(who) for speed in faster.values()]
        summary.rows.append([who, median([v for v in values if v is not None]), *values])
    summary.notes = ["0: not within twice the epochs"]
    yield summary


def trainers(epochs: int) -> dict[str, Trainer]:
    """Return who takes part.

    The others hold their rate, so they may go on for twice the epochs to reach what the tutorial loop had at the end of its
    own. Ours is used as by default: the shortcut from PCA, one cycle planned for the epochs, best weights kept.
    """
    own: dict[str, Any] = {
        "shortcut": "auto", "learning_rate": "auto", "validation_fraction": 0.1, "early_stopping": True,
    }  # fmt: skip
    others: dict[str, Trainer] = {
        TUTORIAL: loops.tutorial,
        "torch in memory, fused Adam": loops.in_memory,
        "pythae AE": libraries.pythae,
        "Keras 3 on JAX": libraries.keras,
    }
    return {name: partial(_longer, train) for name, train in others.items()} | {
        OURS: partial(ours.train, **own),
        f"{OURS}, a quarter of the epochs": partial(ours.train, **own, max_epochs=max(2, epochs // 4)),
        f"{OURS}, default network": partial(ours.train, **own, network="auto"),
        f"{OURS} eager": partial(ours.train, engine="eager", **own),
    }


def _longer(train: Trainer, job: Job, watch: Watch) -> Predict:
    return train(job._replace(epochs=2 * job.epochs), watch)


def curved(n_rows: int) -> np.ndarray:
    """Return (n, 100) rows on a curved sheet of ten dimensions: linear maps and sines of ten factors, and noise of 0.1."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n_rows, 10))
    linear = z @ rng.normal(size=(10, 100)) / math.sqrt(10)
    waves = np.sin(2 * z @ rng.normal(size=(10, 20)) / math.sqrt(10)) @ rng.normal(size=(20, 100)) / math.sqrt(20)
    return (linear + waves + 0.1 * rng.normal(size=linear.shape)).astype(np.float32)


def _on(name: str, quick: bool, rounds: int) -> tuple[Report, dict[str, float]]:
    load, net, batch, epochs = SETS[name]
    try:
        X = load()
    except OSError as error:
        return Report(
            "quality", f"quality: {name}", ["trainer"], skipped={name: f"{error}; ISTHMUS_DATA names the folder"}
        ), {}
    X = X[np.random.default_rng(0).permutation(len(X))][: MOST_ROWS_QUICK if quick else None]
    train, test = X[len(X) // 5 :], X[: len(X) // 5]
    offset, factor = train.mean(0), train.std()
    train, test = (train - offset) / factor, (test - offset) / factor
    job = Job(train, net, batch, max(4, epochs // 4) if quick else epochs)
    here, skipped = present(trainers(job.epochs), job)
    pca, cost = spent(lambda: PCA(net.latent, random_state=0).fit(train))
    floor = squared_error(lambda x: pca.inverse_transform(pca.transform(x)), test)
    paths = interleave({who: partial(_walk, trainer, job, test) for who, trainer in here.items()}, rounds)
    targets = [path.end[1] for path in paths[TUTORIAL]]
    base = [path.until(target) for path, target in zip(paths[TUTORIAL], targets, strict=True)]
    title = f"quality: {name}, {net}, {len(train):,} rows, batch {batch}, {job.epochs} epochs, {rounds} rounds"
    columns = ["trainer", "s to tutorial's end", "x tutorial", "s to PCA", "final / PCA", "total s"]
    report = Report("quality", title, columns, skipped=skipped)
    report.rows.append(["PCA (no training)", None, None, cost.cpu, 1.0, cost.cpu])
    speed: dict[str, float] = {}
    for who, several in paths.items():
        until = [path.until(target) for path, target in zip(several, targets, strict=True)]
        speed[who] = median(ratios(base, until))
        total, final = (median(list(values)) for values in zip(*(path.end for path in several), strict=True))
        to_pca = median([path.until(floor) for path in several])
        report.rows.append([who, median(until), speed[who], to_pca, final / floor, total])
    report.notes = [
        "error: of held-out rows, a fifth; measuring it is not counted. Everybody gets the same centred rows on one scale.",
        "final, total: after the epochs of the set; to reach an error the others may take twice as many",
        "isthmus starts from PCA of nine tenths of the rows: a tenth is held out for its own judgement",
    ]
    report.rounds = {who: [path._asdict() for path in several] for who, several in paths.items()}
    return report, speed


def _walk(trainer: Trainer, job: Job, test: np.ndarray, turn: int) -> Path:
    def look(predict: Predict) -> float:
        return squared_error(predict, test)

    watch = Watch(look)
    predict = trainer(job._replace(seed=turn), watch)
    total = watch.cost.cpu
    is_longer = len(watch.ends) > job.epochs
    return Path(watch.seen, watch.seen[job.epochs - 1] if is_longer else (total, look(predict)))
