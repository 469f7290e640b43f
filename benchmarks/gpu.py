"""What a GPU gains by each step of the way: a tutorial's loop, ours, recorded steps, TF32, bfloat16.

    python benchmarks/gpu.py [--models table,wide,conv,transformer] [--epochs 4] [--rounds 3] [--device cuda]

Prints samples a second (the median over epochs and rounds; the rounds take turns, and the first epoch of each, in which
libraries set themselves up and steps are recorded, is left out), their ratio to the tutorial's loop, the most memory that was
held on the GPU, and how far the loss of an epoch over 4,096 rows is from that of the eager engine on the CPU in float32: at
most 1e-4 of it for everything in float32. The tutorial's loop trains the same networks with torch's DataLoader, Adam and
loss.item(). With --device cpu, which only tries the program out, nothing is said of GPUs.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import isthmus as ist
from isthmus.engine.choice import maker
from isthmus.errors import SettingError
from isthmus.training import Run, train

EQUAL, FEW = 1e-4, 4096
BATCH = 256


class Task(NamedTuple):
    """A network, and data of the shape it takes."""

    network: Any
    shape: tuple[int, ...]
    rows: int


TASKS = {
    "table": Task(ist.MLP(hidden=(256, 128)), (64,), 100_000),
    "wide": Task(ist.MLP(hidden=(2048, 1024)), (1024,), 60_000),
    "conv": Task(ist.Conv(channels=(32, 64)), (1, 28, 28), 30_000),
    "transformer": Task(ist.Transformer(width=128, depth=2), (1, 28, 28), 30_000),
}
WAYS = {
    "one by one": ("eager", "float32"),
    "recorded": ("graphs", "float32"),
    "recorded, TF32": ("graphs", "auto"),
    "recorded, bfloat16": ("graphs", "bfloat16"),
}


def data(task: Task, rows: int) -> np.ndarray:
    """Return rows of rank 16 with a little noise, so that there is something to learn."""
    rng = np.random.default_rng(0)
    size = int(np.prod(task.shape))
    low = rng.normal(size=(rows, 16)) @ rng.normal(size=(16, size)) / 4
    return (low + 0.1 * rng.normal(size=(rows, size))).astype(np.float32).reshape(rows, *task.shape)


def begun(task: Task, X: np.ndarray, device: str, epochs: int) -> Run:
    """Return a run before its first step; no rows are held out, and the noise is none, so that losses can be compared."""
    ae = ist.Autoencoder(
        network=task.network, latent_dim=16, shortcut=False, validation_fraction=0.0, batch_size=BATCH, max_epochs=epochs,
        early_stopping=False, device=device, random_state=0, verbose=False,
    )  # fmt: skip
    rows, told = ae._learn_codec(X, None)
    return ae._start(rows, np.arange(len(rows)), np.arange(0), None, told)


def ours(task: Task, X: np.ndarray, device: str, epochs: int, engine: str, precision: str) -> tuple[list[float], Any]:
    """Return the seconds of each epoch, and the history."""
    run = begun(task, X, device, epochs)
    run.engine = maker(engine, precision)
    history = train(run)
    return [epoch["seconds"] for epoch in history.epochs], history


def loss(task: Task, X: np.ndarray, device: str, engine: str, precision: str) -> float:
    """Return the mean loss of an epoch over the first rows."""
    return ours(task, X[:FEW], device, 1, engine, precision)[1].curve()[0]


def tutorial(task: Task, X: np.ndarray, device: str, epochs: int) -> tuple[list[float], None]:
    """Return the seconds of each epoch of the loop that every tutorial shows."""
    model = begun(task, X, device, epochs).model
    network = nn.Sequential(model.encoder, model.decoder)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=BATCH, shuffle=True)
    optimizer, seconds = torch.optim.Adam(network.parameters(), lr=3e-3), []
    for _ in range(epochs):
        started, total = time.perf_counter(), 0.0
        for (x,) in loader:
            x = x.to(device)
            loss = nn.functional.mse_loss(network(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds, None


def measured(way: Callable[[], tuple[list[float], Any]], device: str) -> tuple[list[float], Any, float]:
    """Return the seconds of all epochs but the first, the history, and the most memory held on the GPU, in MiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, history = way()
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else float("nan")
    return seconds[1:], history, peak


def compare(name: str, task: Task, options: argparse.Namespace) -> bool:
    """Print one model's rows; return whether every loss in float32 is that of the CPU."""
    X = data(task, options.rows or task.rows)
    known = loss(task, X, "cpu", "eager", "float32")
    ways: dict[str, Callable[[], tuple[list[float], Any]]] = {
        "tutorial": lambda: tutorial(task, X, options.device, options.epochs)
    }
    for label, (engine, precision) in WAYS.items():
        ways[label] = lambda e=engine, p=precision: ours(task, X, options.device, options.epochs, e, p)
    seconds, histories, peaks = defaultdict(list), {}, {}
    for _ in range(options.rounds):
        for label, way in ways.items():
            try:
                taken, histories[label], peaks[label] = measured(way, options.device)
                seconds[label] += taken
            except SettingError as error:
                histories[label] = error
    print(f"\n{name}: {len(X)} samples of the shape {task.shape}, batches of {BATCH}, loss on the CPU {known:.6g}")
    base, is_equal = len(X) / np.median(seconds["tutorial"]), True
    for label in ways:
        if label not in seconds:
            print(f"  {label:20} {histories[label]}")
            continue
        rate = len(X) / np.median(seconds[label])
        line = f"  {label:20} {rate:12,.0f} samples/s   x {rate / base:6.2f}   {peaks[label]:8,.0f} MiB"
        if histories[label] is not None:
            off = abs(loss(task, X, options.device, *WAYS[label]) - known) / abs(known)
            line += f"   loss {off:.1e} off"
            if WAYS[label][1] == "float32":
                is_equal &= off <= EQUAL
                line += " (equal)" if off <= EQUAL else f" (MORE THAN {EQUAL:g})"
            line += f"   {histories[label].engine_note}"
        print(line.rstrip(), flush=True)
    return is_equal


def main() -> None:
    """Run everything, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(TASKS))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=0, help="fewer rows than the models come with")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device")
        return
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if options.device == 'cuda' else 'the CPU'}")
    equal = [compare(name, TASKS[name], options) for name in options.models.split(",")]
    if not all(equal):
        raise SystemExit(f"a loss in float32 is more than {EQUAL:g} of it away from that of the CPU")


if __name__ == "__main__":
    main()
