"""What a training step costs by each engine, beside the loop a tutorial prints: CPU time on one thread, interleaved, medians.

    python benchmarks/engines.py [--repeats 5]

The time of an engine holds the shuffling and gathering of the rows. ``peak`` is what a product of 512 x 512 matrices reaches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

import isthmus as ist
from isthmus.engine import Eager
from isthmus.engine.compiled import Compiled
from isthmus.engine.dense import Dense
from isthmus.inputs import check_weight
from isthmus.training import Run, _blocks, generator

RELU = {"shortcut": False, "early_stopping": False}
CASES: dict[str, tuple[int, int, dict]] = {
    "30-64-16-64-30": (
        10_240,
        30,
        RELU | {"network": ist.MLP(hidden=(64,), activation="relu"), "latent_dim": 16, "batch_size": 128},
    ),
    "100-128-32-128-100": (
        25_600,
        100,
        RELU | {"network": ist.MLP(hidden=(128,), activation="relu"), "latent_dim": 32, "batch_size": 256},
    ),
    "784-256-64-256-784": (
        10_240,
        784,
        RELU | {"network": ist.MLP(hidden=(256,), activation="relu"), "latent_dim": 64, "batch_size": 256},
    ),
    "variational 30-64-8": (10_240, 30, {"network": ist.MLP(hidden=(64,)), "bottleneck": "gaussian", "latent_dim": 8}),
    "default, 30 columns, 6,000 rows": (6_000, 30, {}),
    "default, 30 columns, 2,000 rows": (2_000, 30, {}),
}


def begun(ae: ist.Autoencoder, X: np.ndarray) -> Run:
    """Return the run of a fit before its first step."""
    rows, told = ae._learn_codec(X, None)
    train_index, held_out = ae._split(rows, np.arange(len(rows)))
    return ae._start(rows, train_index, held_out, check_weight(None, len(rows)), told)


def epoch(engine: type, settings: dict, X: np.ndarray) -> tuple[Callable[[], int], Run]:
    """Return what trains one epoch and says how many steps that was."""
    run = begun(ist.Autoencoder(random_state=0, verbose=False, **settings), X)
    computing, rng = engine(run.model.train(), run.optimizer), generator(0, 0, run.model)

    def go() -> int:
        blocks = _blocks(run, torch.Generator().manual_seed(0))
        return sum(len(block.sizes) for block in blocks if computing.run(block, rng))

    return go, run


def tutorial(widths: list[int], batch: int, X: np.ndarray) -> Callable[[], int]:
    """Return the loop of a tutorial: DataLoader, autograd, torch.optim.Adam, loss.item()."""
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())][:-1]
    net, data = nn.Sequential(*layers), torch.utils.data.TensorDataset(torch.from_numpy(X))
    loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True)
    optimizer, total = torch.optim.Adam(net.parameters(), lr=1e-3), [0.0]

    def go() -> int:
        for (x,) in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), x)
            loss.backward()
            optimizer.step()
            total[0] += loss.item()
        return len(loader)

    return go


def peak() -> float:
    """Return the operations a second of a matrix product by the faster of two libraries."""
    a, b, best = torch.randn(512, 512), torch.randn(512, 512), 0.0
    for multiply in (torch.mm, lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")):
        for _ in range(10):
            started = time.process_time()
            for _ in range(5):
                multiply(a, b)
            best = max(best, 5 * 2 * 512**3 / (time.process_time() - started))
    return best


def operations(run: Run) -> float:
    """Return the floating-point operations of the matrix products of one step."""
    weights = [p.numel() for name, p in run.model.named_parameters() if p.dim() == 2]
    unneeded = [m.weight.numel() for m in run.model.encoder.body.modules() if isinstance(m, nn.Linear)][:1]
    if run.model.encoder.shortcut is not None:
        unneeded.append(run.model.encoder.shortcut.numel())
    return 2.0 * run.plan.batch_size * (3 * sum(weights) - sum(unneeded))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    highest = peak()
    print(f"peak {highest / 1e9:.0f} GFLOP/s")
    for title, (n, d, settings) in CASES.items():
        X = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
        contenders: dict[str, Callable[[], int]] = {}
        for engine in (Eager, Dense, Compiled):
            contenders[engine.name], run = epoch(engine, settings, X)
        if settings.get("early_stopping") is False:
            contenders["tutorial"] = tutorial([int(w) for w in title.split("-")], settings["batch_size"], X)
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for repeat in range(repeats + 1):
            for name, go in contenders.items():
                started = time.process_time()
                steps = go()
                if repeat:  # the first compiles and warms up
                    times[name].append((time.process_time() - started) / steps)
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"{title}, batch {run.plan.batch_size}")
        for name, seconds in medians.items():
            share = operations(run) / seconds / highest
            print(
                f"  {name:9} {seconds * 1e6:8.0f} us/step  x{seconds / medians['compiled']:5.2f}  {share:.2f} of peak"
            )


if __name__ == "__main__":
    main()
