"""How good samples of Fashion-MNIST are: Fréchet distance, coverage, the share of the prior, copies; beside pythae's.

    python benchmarks/generation.py --cache FOLDER --out results.jsonl                     # what is missing of it
    python benchmarks/generation.py --cache FOLDER --out results.jsonl --rows pythae_ae    # one row; pythae rows need pythae
    python benchmarks/generation.py --cache FOLDER --out results.jsonl --table

20,000 training images, 16 dimensions, 10,000 samples. Distances are taken in the 128 features of a small convolutional network
that was trained on all 60,000 labelled images (kept in FOLDER as clf_fashion.pt: figures are comparable under the same weights
only), against those 60,000, in percent of their total variance: 0 as good as real, 100 one image on the mean. Coverage is of
5,000 training rows (Naeem 2020, k = 5). "gap" is what samples are farther away than reconstructions of the test images.
"copied" is the share of 1,000 samples nearer to one of 10,000 training images than to one of 10,000 test images. Seconds are of
CPU, training and sampler. "between" is the mean distance in features of the midpoint of 1,000 pairs of test images to the
nearest training row, over that of the pixel-wise mean of the same pairs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import isthmus as ist
from isthmus.apps.generation.measures import coverage, frechet, nearer_share, nearest, spread

ROWS, LATENT, SAMPLES, PAIRS = 20_000, 16, 10_000, 1_000


class Made(NamedTuple):
    """What one generator gives."""

    samples: np.ndarray
    rebuilt: np.ndarray
    seconds: float
    between: np.ndarray | None = None


class Classifier(nn.Module):
    """The network whose last hidden layer distances are taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 128),
            nn.ReLU(),
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(self.body(x), 0.25, self.training))


def trained(path: Path) -> Classifier:
    """Return the classifier in ``path``, or train and write it: two epochs, seed 0."""
    network = Classifier()
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    torch.manual_seed(0)
    network = Classifier()
    x, y = tensor(datasets.fashion_images("train")), torch.from_numpy(datasets.fashion_labels("train").astype(np.int64))
    steps = 2 * -(-len(x) // 128)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for _ in range(2):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    torch.save(network.state_dict(), path)
    return network.eval()


def tensor(images: np.ndarray) -> torch.Tensor:
    """Return images as (n, 1, 28, 28) in [0, 1]."""
    unit = images.astype(np.float32) / (255 if images.dtype == np.uint8 else 1)
    return torch.from_numpy(unit.clip(0, 1)).view(-1, 1, 28, 28)


class Judge:
    """The features, and those of the real images."""

    def __init__(self, folder: Path) -> None:
        self.network = trained(folder / "clf_fashion.pt")
        kept = folder / "features_fashion.npy"
        if not kept.exists():
            np.save(kept, self.features(datasets.fashion_images("train")))
        self.real = np.load(kept)

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        return torch.cat([self.network.body(piece) for piece in tensor(images).split(1000)]).numpy()

    def __call__(self, made: Made) -> dict[str, float]:
        unit, drawn = spread(self.real) / 100, self.features(made.samples)
        distance = frechet(drawn, self.real) / unit
        decoder = frechet(self.features(made.rebuilt), self.real) / unit
        train, test = (tensor(datasets.fashion_images(part)[:10_000]).flatten(1) for part in ("train", "t10k"))
        copied = nearer_share(tensor(made.samples[:1000]).flatten(1).numpy(), train.numpy(), test.numpy())
        error = float(np.square(tensor(made.rebuilt).flatten(1).numpy() - test.numpy()).mean())
        figures = {"frechet": distance, "decoder": decoder, "gap": distance - decoder}
        figures |= {"coverage": coverage(self.real[:5000], drawn[:5000]), "copied": copied, "error": error}
        if made.between is not None:
            a, b = pairs()
            mean = (tensor(a).numpy() + tensor(b).numpy()) / 2
            near = [nearest(self.features(x), self.real)[:, 0].mean() for x in (made.between, mean)]
            figures["between"] = float(near[0] / near[1])
        return figures | {"seconds": made.seconds}


@cache
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Return the two sides of the pairs, taken at random from the test images."""
    test, chosen = datasets.fashion_images("t10k"), np.random.default_rng(0).permutation(10_000)[: 2 * PAIRS]
    return test[chosen[:PAIRS]], test[chosen[PAIRS:]]


def isthmus(seed: int, **settings: Any) -> Made:
    """Fit a variational autoencoder on the training images and draw."""
    train, test = datasets.fashion_images("train")[:ROWS], datasets.fashion_images("t10k")
    started = time.process_time()
    ae = ist.variational(latent_dim=LATENT, random_state=seed, verbose=False, **settings).fit(train)
    samples = ae.sample(SAMPLES, random_state=seed)
    seconds = time.process_time() - started
    walk = ist.interpolate(ae, *pairs(), steps=3)
    middle = np.asarray(walk.samples).reshape(PAIRS, 3, 28, 28)[:, 1]
    return Made(np.asarray(samples), np.asarray(ae.reconstruct(test)), seconds, middle)


def pythae(seed: int, kind: str) -> Made:
    """Fit pythae's autoencoder (a mixture of ten drawn from) or variational one (its prior), five epochs of its own loop."""
    from pythae_nets import fitted  # in this folder; needs pythae, which is no dependency

    return Made(*fitted(kind, seed, LATENT, ROWS, SAMPLES))


def real(seed: int) -> Made:
    """Return other training images as samples, and the test images as their own reconstruction."""
    return Made(datasets.fashion_images("train")[ROWS : ROWS + SAMPLES], datasets.fashion_images("t10k"), 0.0)


RUNS: dict[str, Callable[[int], Made]] = {
    "real images": real,
    "pythae_ae": lambda seed: pythae(seed, "ae"),
    "pythae_vae": lambda seed: pythae(seed, "vae"),
    "default": lambda seed: isthmus(seed),
    "default, 14 epochs": lambda seed: isthmus(seed, max_epochs=14),
    "default, normal": lambda seed: isthmus(seed, reconstruction="normal"),
    "conv, 6 epochs": lambda seed: isthmus(seed, network="conv", max_epochs=6),
    "conv, 8 epochs": lambda seed: isthmus(seed, network="conv", max_epochs=8),
    "conv, 6 epochs, flow": lambda seed: isthmus(seed, network="conv", max_epochs=6, sampler="flow"),
    "conv, 6 epochs, normal": lambda seed: isthmus(seed, network="conv", max_epochs=6, reconstruction="normal"),
    "conv": lambda seed: isthmus(seed, network="conv"),
}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: means over the seeds."""
    names = ("frechet", "decoder", "gap", "coverage", "copied", "error", "between", "seconds")
    lines = [f"| | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row in dict.fromkeys(r["row"] for r in results):
        runs = [r for r in results if r["row"] == row]
        cells = [f"{np.mean([r[n] for r in runs]):.3g}" if n in runs[0] else "" for n in names]
        lines.append(f"| {row} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", choices=tuple(RUNS), default=list(RUNS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.table:
        print(table(known))
        return
    judge, done = Judge(options.cache), {(r["row"], r["seed"]) for r in known}
    for row, seed in ((row, seed) for seed in options.seeds for row in options.rows):
        if (row, seed) not in done:
            result = {"row": row, "seed": seed} | judge(RUNS[row](seed))
            with options.out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}, flush=True)


if __name__ == "__main__":
    main()
