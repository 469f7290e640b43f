"""Denoising beside the classical methods, on pictures whose clean versions are known.

    python benchmarks/denoising.py                      # needs `pip install bm3d` for its rows; they are left out without it
    python benchmarks/denoising.py --tasks photos --seeds 0

Noise is not clipped; results are, to [0, 1]. Mean peak signal-to-noise ratio of the pictures in decibels, and processor seconds
of fit and restoring. BM3D and the linear answer are told the level of the noise; Isthmus as it comes finds it itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np

import isthmus as ist

LEVELS = (0.1, 0.25, 0.5)
TESTED = 200
NOISY = 2000
"""So many noisy pictures, and no clean ones, are there to learn from; the first 200 of them are scored."""


def fashion(part: str) -> np.ndarray:
    """Return the pictures of Fashion-MNIST in [0, 1], (n, 28, 28)."""
    return datasets.fashion_images(part).astype(np.float32) / 255


def faces() -> tuple[np.ndarray, np.ndarray]:
    """Return 320 training and 80 test faces of ORL in [0, 1], (n, 32, 32): eight and two of each person."""
    x = datasets.load("orl_faces")
    x = (x if len(x) == 400 else x.T).reshape(40, 10, 32, 32) / x.max()
    return x[:, :8].reshape(-1, 32, 32), x[:, 8:].reshape(-1, 32, 32)


def psnr(clean: np.ndarray, restored: np.ndarray) -> float:
    """Return the mean over the pictures."""
    errors = np.square(clean - np.clip(restored, 0, 1)).reshape(len(clean), -1).mean(1)
    return float((-10 * np.log10(errors)).mean())


def gaussian(clean: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Add noise."""
    return (clean + np.random.default_rng(1000 + seed).normal(0, level, clean.shape)).astype(np.float32)


def salt_and_pepper(clean: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Set a share of the pixels to 0 or 1."""
    u = np.random.default_rng(1000 + seed).random(clean.shape)
    return np.where(u < rate / 2, 0, np.where(u < rate, 1, clean)).astype(np.float32)


def missing(clean: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Make a share of the pixels NaN."""
    return np.where(np.random.default_rng(1000 + seed).random(clean.shape) < rate, np.nan, clean).astype(np.float32)


# -- the classical methods ----------------------------------------------------------------------------------------


def bm3d(noisy: np.ndarray, level: float) -> np.ndarray:
    """Denoise by BM3D; small pictures as one mosaic, which is a hundred times faster and lets blocks match across them."""
    from bm3d import bm3d as run  # pyright: ignore[reportMissingImports] - a peer, installed for this benchmark

    n, height, width = noisy.shape
    if height > 64:
        return np.stack([run(y, level) for y in noisy])
    side = int(np.ceil(n**0.5))
    padded = np.pad(noisy, ((0, side * side - n), (4, 4), (4, 4)), mode="symmetric")
    h, w = height + 8, width + 8
    mosaic = padded.reshape(side, side, h, w).transpose(0, 2, 1, 3).reshape(side * h, side * w)
    restored = run(mosaic, level).reshape(side, h, side, w).transpose(0, 2, 1, 3).reshape(-1, h, w)
    return restored[:n, 4:-4, 4:-4]


def linear(clean: np.ndarray, noisy: np.ndarray, level: float) -> np.ndarray:
    """Return the linear minimum mean squared error estimate from the covariance of clean pictures."""
    rows = clean.reshape(len(clean), -1)[:20_000].astype(np.float64)
    covariance = np.cov(rows.T)
    gain = np.linalg.solve(covariance + level**2 * np.eye(len(covariance)), covariance)
    return ((noisy.reshape(len(noisy), -1) - rows.mean(0)) @ gain + rows.mean(0)).reshape(noisy.shape)


def linear_of_missing(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """Return the conditional mean of missing pixels given the others, solved picture by picture."""
    rows = clean.reshape(len(clean), -1)[:20_000].astype(np.float64)
    covariance, mean = np.cov(rows.T), rows.mean(0)
    restored = noisy.reshape(len(noisy), -1).astype(np.float64).copy()
    for row in restored:
        gone = np.isnan(row)
        inner = covariance[np.ix_(~gone, ~gone)] + 1e-3 * np.eye((~gone).sum())
        row[gone] = mean[gone] + covariance[np.ix_(gone, ~gone)] @ np.linalg.solve(inner, row[~gone] - mean[~gone])
    return restored.reshape(noisy.shape)


# -- tasks --------------------------------------------------------------------------------------------------------


class Scores:
    """What was measured, printed as it comes and kept for the means."""

    def __init__(self, out: Path | None) -> None:
        self.found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self.out = out

    def add(self, task: str, method: str, clean: np.ndarray, run: Callable[[], np.ndarray], spent: float = 0.0) -> None:
        """Run a method, time it, and score it; ``spent`` seconds went into it before."""
        if method == "BM3D" and importlib.util.find_spec("bm3d") is None:
            return
        started = time.process_time()
        restored = run()
        seconds = time.process_time() - started + spent
        score = psnr(clean, restored[: len(clean)])
        self.found.setdefault((task, method), []).append((score, seconds))
        print(f"{task:24} {method:22} {score:6.2f} dB {seconds:7.1f} s", flush=True)
        if self.out:
            with self.out.open("a") as file:
                file.write(json.dumps({"task": task, "method": method, "psnr": score, "cpu": seconds}) + "\n")

    def summary(self) -> None:
        """Print the means over the seeds, and the least of them."""
        print("\nmeans of the seeds (least)")
        for (task, method), each in self.found.items():
            db, seconds = np.array(each).T
            print(f"{task:24} {method:22} {db.mean():6.2f} ({db.min():.2f}) dB {seconds.mean():7.1f} s")


def timed_fit(denoiser: Any, X: np.ndarray) -> tuple[Any, float]:
    """Return the fitted denoiser and its processor seconds."""
    started = time.process_time()
    return denoiser.fit(X), time.process_time() - started


def clean_examples(scores: Scores, seed: int) -> None:
    """Fashion-MNIST with clean examples and Gaussian noise: one model for every level, which it is not told."""
    train, test = fashion("train"), fashion("t10k")[:TESTED]
    denoiser, spent = timed_fit(ist.Denoiser(random_state=seed), train)
    for level in LEVELS:
        noisy, task = gaussian(test, level, seed), f"fashion {level}"
        scores.add(task, "noisy", test, lambda y=noisy: y)
        scores.add(task, "linear", test, lambda y=noisy, s=level: linear(train, y, s))
        scores.add(task, "BM3D", test, lambda y=noisy, s=level: bm3d(y, s))
        scores.add(task, "isthmus (a third of fit)", test, lambda y=noisy: denoiser.transform(y), spent / len(LEVELS))


def other_noise(scores: Scores, seed: int) -> None:
    """Fashion-MNIST with clean examples: pixels that are black or white at random, and missing ones."""
    train, test = fashion("train"), fashion("t10k")[:TESTED]
    noisy = salt_and_pepper(test, 0.2, seed)
    denoiser, spent = timed_fit(ist.Denoiser(noise=ist.SaltAndPepper(0.2), random_state=seed), train)
    scores.add("fashion salt, pepper", "noisy", test, lambda: noisy)
    scores.add("fashion salt, pepper", "isthmus", test, lambda: denoiser.transform(noisy), spent)
    gappy = missing(test, 0.5, seed)
    denoiser, spent = timed_fit(ist.Denoiser(noise=ist.Masking(0.5), random_state=seed), train)
    scores.add("fashion half missing", "linear", test, lambda: linear_of_missing(train, gappy))
    scores.add("fashion half missing", "isthmus", test, lambda: denoiser.transform(gappy), spent)


def noisy_examples(scores: Scores, seed: int) -> None:
    """Fashion-MNIST, 2,000 noisy pictures and no clean one."""
    test = fashion("t10k")[:NOISY]
    noisy = gaussian(test, 0.25, seed)
    denoiser, spent = timed_fit(ist.Denoiser(regime="noisy", random_state=seed), noisy)
    scores.add("fashion only noisy .25", "BM3D", test[:TESTED], lambda: bm3d(noisy[:TESTED], 0.25))
    scores.add("fashion only noisy .25", "isthmus", test[:TESTED], lambda: denoiser.transform(noisy), spent)


def few_faces(scores: Scores, seed: int) -> None:
    """ORL: 320 clean faces to learn from."""
    train, test = faces()
    noisy = gaussian(test, 0.25, seed)
    denoiser, spent = timed_fit(ist.Denoiser(random_state=seed), train)
    scores.add("orl .25", "linear", test, lambda: linear(train, noisy, 0.25))
    scores.add("orl .25", "BM3D", test, lambda: bm3d(noisy, 0.25))
    scores.add("orl .25", "isthmus", test, lambda: denoiser.transform(noisy), spent)


def photos(scores: Scores, seed: int) -> None:
    """Set12, each photograph alone, at a level of 25 of 255."""
    from PIL import Image

    for file in sorted((datasets.DATA / "set12").glob("*.png")):
        clean = np.asarray(Image.open(file).convert("L"), np.float32)[None] / 255
        noisy, task = gaussian(clean, 25 / 255, seed), f"set12 {file.stem} {clean.shape[1]}"
        scores.add(task, "BM3D", clean, lambda y=noisy: bm3d(y, 25 / 255))
        told = ist.Denoiser(regime="single", sigma=25 / 255)
        scores.add(task, "isthmus, told", clean, lambda y=noisy, d=told: d.fit_transform(y))
        alone = ist.Denoiser(regime="single")
        scores.add(task, "isthmus", clean, lambda y=noisy, d=alone: d.fit_transform(y))


TASKS: dict[str, Callable[[Scores, int], None]] = {
    "photos": photos,
    "noisy": noisy_examples,
    "clean": clean_examples,
    "other": other_noise,
    "faces": few_faces,
}


def main() -> None:
    """Run the tasks for every seed, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    scores = Scores(options.out)
    for task in options.tasks.split(","):
        for seed in map(int, options.seeds.split(",")):
            TASKS[task](scores, seed)
    scores.summary()


if __name__ == "__main__":
    main()
