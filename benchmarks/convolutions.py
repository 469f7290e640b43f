"""Convolutional autoencoders: the error and the speed of each kind of decoder, engine and precision, beside plain torch.

    python benchmarks/convolutions.py speed [--rounds 9]      # CPU time of a training step
    python benchmarks/convolutions.py error [--rows 3000 --epochs 8 --seeds 3 --precision bfloat16]  # on Fashion-MNIST

Channels are 1-32-64 throughout, 3-32-64 for the larger images. The loop of plain torch is the tutorial's: strided convolutions,
transposed convolutions back, ReLU, mean squared error, torch's Adam, float32, memory as torch lays it out. Each row runs in a
process of its own, as a user's would, on one thread; rounds are interleaved, and the median counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn

import isthmus as ist
from isthmus.designs import Composed
from isthmus.engine import Block, Eager, Engine
from isthmus.engine.adam import Adam
from isthmus.engine.convolutional import Convolutional
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.reconstructions import SquaredError
from isthmus.parts.step import Batch

LATENT, STEPS = 16, 4
SHAPES = {"28 x 28": ((1, 28, 28), 128), "3 x 64 x 64": ((3, 64, 64), 32)}
_OPEN: dict[str, Any] = {"final": False, "activation": "relu"}
KINDS: dict[str, dict[str, Any]] = {
    "patches (the default)": {"down": "patches", "up": "patches"} | _OPEN,
    "patches, silu": {"down": "patches", "up": "patches", "final": False, "activation": "silu"},
    "strided, patches": {"down": "strided", "up": "patches"} | _OPEN,
    "strided, transposed 3": {"down": "strided", "up": "transposed", "up_kernel": 3} | _OPEN,
    "strided, transposed 4": {"down": "strided", "up": "transposed"} | _OPEN,
    "strided, pixel_shuffle": {"down": "strided", "up": "pixel_shuffle"} | _OPEN,
    "strided, resize": {"down": "strided", "up": "resize"} | _OPEN,
    "strided, transposed 4, final": {"down": "strided", "up": "transposed", "activation": "relu", "final": True},
    "the same, silu": {"down": "strided", "up": "transposed", "activation": "silu", "final": True},
}


def tutorial(channels: int, side: int | None = None) -> nn.Sequential:
    """Return the tutorial's network; with ``side`` there is a code of 16 numbers in its middle."""
    middle = [nn.Flatten(), nn.Linear(64 * side**2, LATENT), nn.Linear(LATENT, 64 * side**2)] if side else []
    return nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
        *(middle and [*middle, nn.Unflatten(1, (64, side, side)), nn.ReLU()]),
        *(nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(32, channels, 3, 2, 1, 1)),
    )


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    """Take the tutorial's step."""
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), x).backward()
    optimizer.step()


def plain_steps(shape: tuple[int, ...], rows: int, order: torch.memory_format, is_half: bool) -> Callable[[], None]:
    """Return what takes four of the tutorial's steps."""
    model = tutorial(shape[0]).to(memory_format=order)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.rand(rows, *shape).contiguous(memory_format=order)

    def steps() -> None:
        for _ in range(STEPS):
            with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                learn(model, optimizer, x)

    return steps


def our_steps(shape: tuple[int, ...], rows: int, kind: dict[str, Any], engine: str) -> Callable[[], object]:
    """Return what takes four steps of the library, with the linear shortcut that is its default."""
    network = ist.Conv((32, 64), **kind).resolve(shape, 1000)
    model = Composed(Blueprint(Parts(network, Plain(), SquaredError()), Layout(shape), LATENT, shortcut=True)).train()
    optimizer, rng = Adam(model.named_parameters()), torch.Generator().manual_seed(0)
    precision = "bfloat16" if engine == "bfloat16" else "float32"
    made: Engine = Eager(model, optimizer) if engine == "eager" else Convolutional(model, optimizer, precision)
    block = Block(Batch(torch.rand(STEPS * rows, *shape)), [rows] * STEPS, [0.5] * STEPS, [1e-3] * STEPS)
    return lambda: made.run(block, rng)


def serve(pipe: Connection, make: Callable[[], Callable[[], object]]) -> None:
    """Take steps whenever asked; answer with the CPU time of one, in milliseconds."""
    steps = make()
    steps()
    while pipe.recv():
        started = time.process_time()
        steps()
        pipe.send((time.process_time() - started) / STEPS * 1e3)


def chosen(kinds: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the kinds whose name holds one of some words."""
    return [(kind, settings) for kind, settings in KINDS.items() if any(word in kind for word in kinds.split(";"))]


def speed(rounds: int, kinds: str) -> None:
    """Print CPU time a step and the ratio to the loop of plain torch."""
    context = multiprocessing.get_context("fork")
    for name, (shape, rows) in SHAPES.items():
        usual, last = torch.contiguous_format, torch.channels_last
        makers: dict[str, Callable[[], Callable[[], object]]] = {
            "plain torch": partial(plain_steps, shape, rows, usual, is_half=False),
            "plain torch, channels_last": partial(plain_steps, shape, rows, last, is_half=False),
            "plain torch, autocast": partial(plain_steps, shape, rows, usual, is_half=True),
            "plain torch, channels_last, autocast": partial(plain_steps, shape, rows, last, is_half=True),
        }
        for kind, settings in chosen(kinds):
            for engine in ("eager", "float32", "bfloat16"):
                makers[f"{kind} | {engine}"] = partial(our_steps, shape, rows, settings, engine)
        pipes: dict[str, Connection] = {}
        for row, make in makers.items():
            pipes[row], there = context.Pipe()
            context.Process(target=serve, args=(there, make), daemon=True).start()
        times: dict[str, list[float]] = {row: [] for row in pipes}
        for _ in range(rounds):
            for row, pipe in pipes.items():
                pipe.send(True)
                times[row].append(pipe.recv())
        for pipe in pipes.values():
            pipe.send(False)
        base = statistics.median(times["plain torch"])
        print(f"\n{name}, {rows} images a step | CPU ms a step | times the speed of plain torch")
        for row, taken in times.items():
            print(f"{row} | {statistics.median(taken):.1f} | {base / statistics.median(taken):.2f}", flush=True)


def error(rows: int, epochs: int, seeds: int, precision: str, kinds: str) -> None:
    """Print the squared error per test image after equally many epochs, and the CPU time per image seen."""
    train, test = datasets.fashion_images("train")[:rows], datasets.fashion_images("t10k")[:1500]
    print(f"{rows} images, {epochs} epochs: kind | precision | squared error by seed | mean | CPU us an image")
    for kind, settings in chosen(kinds):
        found = [ours(train, test, settings, precision, epochs, seed) for seed in range(seeds)]
        report(kind, precision, found, rows * epochs)
    if not kinds:
        report("plain torch", "float32", [plainly(train, test, epochs, seed) for seed in range(seeds)], rows * epochs)


def report(kind: str, precision: str, found: list[tuple[float, float]], seen: int) -> None:
    """Print one line of the table."""
    errors = [each for each, _ in found]
    cpu = statistics.median(taken for _, taken in found) / seen * 1e6
    print(
        f"{kind} | {precision} | {' '.join(f'{each:.2f}' for each in errors)} | {np.mean(errors):.2f} | {cpu:.0f}",
        flush=True,
    )


def ours(
    train: np.ndarray, test: np.ndarray, settings: dict[str, Any], precision: str, epochs: int, seed: int
) -> tuple[float, float]:
    """Return the error of the library and the CPU seconds of its fit, held-out judgement and PCA included."""
    own = {
        "max_epochs": epochs,
        "batch_size": 128,
        "early_stopping": False,
        "random_state": seed,
        "verbose": False,
        "precision": precision,
    }
    started = time.process_time()
    ae = ist.Autoencoder(network=ist.Conv((32, 64), **settings), latent_dim=LATENT, **own).fit(train)
    taken = time.process_time() - started
    return squared(ae.reconstruct(test), test), taken


def plainly(train: np.ndarray, test: np.ndarray, epochs: int, seed: int) -> tuple[float, float]:
    """Return the same of the tutorial's loop, with a code of the same size; torch's Adam has its usual rate, 1e-3."""
    torch.manual_seed(seed)
    started = time.process_time()
    x = torch.from_numpy(train[:, None] / np.float32(255))
    model = tutorial(1, side=7)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(128):
            learn(model, optimizer, x[index])
    taken = time.process_time() - started
    with torch.inference_mode():
        found = model(torch.from_numpy(test[:, None] / np.float32(255)))[:, 0].numpy() * 255
    return squared(found, test), taken


def squared(found: np.ndarray, test: np.ndarray) -> float:
    """Return the squared error per image, pixels in [0, 1]."""
    return float(np.square((found.astype(np.float64) - test) / 255).sum((1, 2)).mean())


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("speed", "error"))
    parser.add_argument("--kinds", default="", help="parts of the names of kinds, between semicolons; all without it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.table == "speed":
        speed(options.rounds, options.kinds)
    else:
        error(options.rows, options.epochs, options.seeds, options.precision, options.kinds)


if __name__ == "__main__":
    main()
