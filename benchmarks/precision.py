"""What half precision gains and costs: python benchmarks/precision.py [--steps-only]

For networks of several sizes: CPU time of a training step in float32 and with products in bfloat16, and their ratio (medians of
five, interleaved, one thread). The rule PROMISING in isthmus/precision.py is read off this table. Then, on Fashion-MNIST where
its files are at hand and on digits: the whole fit both ways and by the gate, its time with the probe, and its held-out error.
"""

from __future__ import annotations

import argparse
import time

import datasets
import numpy as np
import torch

import isthmus as ist

SIZES = [
    (30, (256, 128), 112),
    (30, (256, 128), 256),
    (30, (512, 256, 128), 128),
    (30, (512, 256, 128), 256),
    (100, (512, 256, 128), 256),
    (784, (256,), 128),
    (784, (512, 256), 256),
]


class StepTime:
    """A callback that notes the CPU time of each epoch."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_begin(self, run: object) -> None:
        self.marks.append(time.process_time())

    def on_epoch_end(self, run: object) -> None:
        self.marks.append(time.process_time())


def step(size: int, hidden: tuple[int, ...], batch: int, precision: str) -> tuple[float, int]:
    """Return microseconds of CPU time a step, and the floating-point operations of its products."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(batch * 40, 8)) @ rng.normal(size=(8, size)) + 0.1 * rng.normal(size=(batch * 40, size))
    clock = StepTime()
    ae = ist.Autoencoder(
        network=ist.MLP(hidden=hidden),
        latent_dim=8,
        validation_fraction=0,
        early_stopping=False,
        max_epochs=4,
        batch_size=batch,
        precision=precision,
        callbacks=clock,
        random_state=0,
        verbose=False,
    ).fit(X)
    weights = sum(parameter.numel() for parameter in ae.model_.parameters() if parameter.dim() > 1)
    return float(np.median(np.diff(clock.marks)[1:])) / 40 * 1e6, 6 * batch * weights


def steps() -> None:
    """Print the table of steps."""
    print(f"{'numbers':>8} {'hidden':>16} {'batch':>6} {'MFLOP':>7} {'float32 us':>11} {'bfloat16 us':>12} {'gain':>6}")
    for size, hidden, batch in SIZES:
        found = [[step(size, hidden, batch, kind)[0] for kind in ("float32", "bfloat16")] for _ in range(5)]
        exact, half = np.median(found, axis=0)
        gain = np.median([a / b for a, b in found])
        operations = step(size, hidden, batch, "float32")[1] / 1e6
        print(f"{size:8d} {hidden!s:>16} {batch:6d} {operations:7.0f} {exact:11.0f} {half:12.0f} {gain:6.2f}")


def fits() -> None:
    """Print the table of whole fits."""
    print(f"\n{'data':>14} {'precision':>10} {'CPU s':>7} {'held-out error, of PCA':>23}  what the gate said")
    for name in ("digits", "fashion_mnist"):
        try:
            X = datasets.load(name)
        except FileNotFoundError:
            print(f"{name:>14} is not at hand")
            continue
        for precision in ("float32", "bfloat16", "auto"):
            started = time.process_time()
            ae = ist.Autoencoder(precision=precision, early_stopping=False, random_state=0, verbose=False).fit(X)
            spent = time.process_time() - started
            ratio = ae.scores_["model"]["squared_error"] / ae.scores_["pca"]["squared_error"]
            print(f"{name:>14} {precision:>10} {spent:7.1f} {ratio:23.4f}  {'; '.join(ae.history_.events)}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps()
    if not options.steps_only:
        fits()


if __name__ == "__main__":
    main()
