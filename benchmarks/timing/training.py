"""Cases ``table``, ``wide`` and ``conv``: what a training step costs, everybody on the same job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from timing import libraries, loops, machine, ours
from timing.clock import Cost, Watch, interleave, median, ratios
from timing.job import Job, Net, Trainer, present, squared_error, table_job, wide_job
from timing.report import Report, span

TUTORIAL = "tutorial PyTorch loop"
PEERS: dict[str, Trainer] = {
    TUTORIAL: loops.tutorial,
    "torch in memory, fused Adam": loops.in_memory,
    "pyod AutoEncoder": libraries.pyod,
    "pythae AE": libraries.pythae,
    "scikit-learn MLPRegressor": libraries.scikit_learn,
    "Keras 3 on JAX": libraries.keras,
}


class Trained(NamedTuple):
    """One training of one contestant."""

    epoch: Cost
    fit: Cost
    error: float


def table(quick: bool, rounds: int) -> Iterator[Report]:
    """30-64-16-64-30, batches of 128."""
    job = table_job(2_000 if quick else 20_000)
    yield race("table", job, job.net.flops, PEERS | ours.trainers(), rounds)


def wide(quick: bool, rounds: int) -> Iterator[Report]:
    """784-256-64-256-784, batches of 256, in float32 and in bfloat16."""
    job = wide_job(2_000 if quick else 10_000)
    half = {"torch in memory, bf16 autocast": partial(loops.in_memory, bfloat16=True)}
    yield race("wide", job, job.net.flops, PEERS | half | ours.trainers() | ours.trainers("bfloat16"), rounds)


def conv(quick: bool, rounds: int) -> Iterator[Report]:
    """Convolutional autoencoders: 28x28 in batches of 128, 3x64x64 in batches of 32; ours with the default ``Conv``."""
    build = {"build": loops.conv}
    trainers: dict[str, Trainer] = {
        TUTORIAL: partial(loops.tutorial, **build),
        "torch in memory, fused Adam": partial(loops.in_memory, **build),
        "torch in memory, channels last": partial(loops.in_memory, channels_last=True, **build),
        "torch channels last, bf16": partial(loops.in_memory, channels_last=True, bfloat16=True, **build),
    }
    trainers |= ours.trainers(network="conv") | ours.trainers("bfloat16", network="conv")
    trainers["isthmus auto"] = partial(ours.train, network="conv")
    count = (256, 64) if quick else (2_560, 320)
    # the channels are those that the default Conv takes for such samples
    small = Job(_pictures(count[0], 1, 28), Net(784, (32, 64), 32), 128, 3)
    large = Job(_pictures(count[1], 3, 64), Net(3 * 64 * 64, (32, 64, 128, 128), 64), 32, 3)
    for job in (small, large):
        yield race("conv", job, _flops(job), trainers, rounds)


def race(case: str, job: Job, flops: float, trainers: dict[str, Trainer], rounds: int) -> Report:
    """Train everybody in every round, beside a measurement of the fp32 peak; ``flops`` are those of one row."""
    here, skipped = present(trainers, job)
    measures: dict[str, Callable[[int], Any]] = {name: partial(_run, train, job) for name, train in here.items()}
    runs = interleave(measures | {"peak": lambda turn: machine.peak_flops()}, rounds)
    peaks = runs.pop("peak")
    base = [run.epoch.cpu for run in runs[TUTORIAL]]
    columns = [
        "CPU time",
        "us/step",
        "us/row",
        "x tutorial",
        "least..most",
        "of peak",
        "whole fit s",
        "x tutorial",
        "MSE",
    ]
    shape = job.net if job.X.ndim == 2 else f"{'x'.join(map(str, job.X.shape[1:]))}, channels {job.net.hidden}"
    report = Report(case, f"{case}: {shape}, batch {job.batch}, {len(job.X):,} rows, {rounds} rounds", columns)
    for name, several in runs.items():
        epochs, fits = [run.epoch.cpu for run in several], [run.fit.cpu for run in several]
        row, faster = median(epochs) / len(job.X), ratios(base, epochs)
        step = [
            1e6 * row * len(job.X) / job.steps,
            1e6 * row,
            median(faster),
            span(faster),
            flops / row / median(peaks),
        ]
        whole = median(ratios([run.fit.cpu for run in runs[TUTORIAL]], fits))
        report.rows.append([name, *step, median(fits), whole, median([run.error for run in several])])
    report.notes = [
        "steady state: median epoch without the first; x and least..most: ratio to the tutorial loop, round by round",
        f"{flops / 1e3:,.0f} kFLOP a row of training; fp32 peak measured in this run {median(peaks) / 1e9:.0f} GFLOP/s",
        f"whole fit: {job.epochs} epochs with compilation and front door; MSE: of the training rows after it",
    ]
    report.skipped = skipped
    report.rounds = {name: [run._asdict() for run in several] for name, several in runs.items()} | {"peak": peaks}
    return report


def _run(train: Trainer, job: Job, turn: int) -> Trained:
    watch = Watch()
    predict = train(job._replace(seed=turn), watch)
    fit = watch.cost
    return Trained(watch.epoch, fit, squared_error(predict, job.X))


def _flops(job: Job) -> float:
    """Count what the plain network does to train on one row; a contestant that does less counts as if it did that."""
    x = torch.from_numpy(job.X[: job.batch])
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.mse_loss(loops.conv(job)(x), x).backward()
    return counter.get_total_flops() / job.batch


def _pictures(count: int, channels: int, side: int) -> np.ndarray:
    """Return images in [0, 1]: Fashion-MNIST where it is there and fits, else smooth random ones."""
    if (channels, side) == (1, 28) and (datasets.DATA / "fashion_mnist").exists():
        return datasets.fashion_images("train")[:count, None].astype(np.float32) / 255
    coarse = torch.rand(count, channels, side // 7, side // 7, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").numpy()
