"""Does each number of a code say one thing? MIG and DCI on rendered shapes whose five factors are known.

    OMP_NUM_THREADS=1 python benchmarks/disentanglement.py --out results.jsonl               # what is missing of it
    OMP_NUM_THREADS=1 python benchmarks/disentanglement.py --out results.jsonl --rows PCA    # one row
    python benchmarks/disentanglement.py --out results.jsonl --table

20,000 images of 32 x 32 grey pixels: shape (square, ellipse, heart), scale (6), angle (10 below 90 degrees, so that it can
be told for every shape), x and y (16 each), all drawn independently. Codes of 10 numbers, of the first 6,000 images
(learned from, without their factors). "MIG" (Chen 2018) is the mean over factors of the information that the best number of
the code has about it beyond the second best, over the factor's entropy, in 20 bins of equal width. "DCI" (Eastwood &
Williams 2018): trees learn each factor from 3/4 of the codes; disentanglement and completeness are one minus the entropies
of their importances, by code (weighed by importance) and by factor; informativeness is their accuracy on the rest. Noise
and PCA show what these figures are for nothing. "broadcast" is a decoder that draws each patch from the code and its place
(Watters 2019), given as modules of one's own; "rotated" codes are those that vary (standard deviation above 0.1), turned by
independent component analysis, which sees no factor either.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rivals import Ledger
from sklearn.decomposition import PCA, FastICA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import mutual_info_score
from torch import nn
from torch.nn import functional as F

import isthmus as ist

LEVELS = {"shape": 3, "scale": 6, "angle": 10, "x": 16, "y": 16}
IMAGES, SIDE, LATENT, SCORED, BINS = 20_000, 32, 10, 6000, 20
FINER = 4
"""Each pixel is the mean of so many by so many points that are inside or outside of the shape."""


@cache
def factors() -> np.ndarray:
    """Return the level of each factor of each image, (n, 5)."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(levels, size=IMAGES) for levels in LEVELS.values()], axis=1)


@cache
def images() -> np.ndarray:
    """Return the images, uint8 (n, 32, 32)."""
    return np.concatenate([render(some) for some in np.array_split(factors(), 40)])


def render(levels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Draw shapes (n, 5 levels) as uint8 (n, side, side): white on black."""
    share = levels / (np.array([*LEVELS.values()]) - 1)
    radius = 0.08 + 0.08 * share[:, 1]  # of the side
    angle = np.pi / 2 * levels[:, 2] / LEVELS["angle"]
    grid = (np.arange(FINER * side) + 0.5) / (FINER * side)
    right = grid[None, None, :] - (0.25 + 0.5 * share[:, 3])[:, None, None]
    down = grid[None, :, None] - (0.25 + 0.5 * share[:, 4])[:, None, None]
    cosine, sine, unit = (values[:, None, None] for values in (np.cos(angle), np.sin(angle), radius))
    u, v = (cosine * right + sine * down) / unit, (cosine * down - sine * right) / unit
    inside = np.empty(u.shape, bool)
    for kind, rule in enumerate((_square, _ellipse, _heart)):
        chosen = levels[:, 0] == kind
        inside[chosen] = rule(u[chosen], v[chosen])
    share = inside.reshape(len(levels), side, FINER, side, FINER).mean((2, 4))
    return np.rint(255 * share).astype(np.uint8)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= 0.8


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.square(u) + np.square(2 * v) <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = 1.2 * u, -1.2 * v  # (u^2 + v^2 - 1)^3 <= u^2 v^3 is a little larger than the unit circle
    return (np.square(u) + np.square(v) - 1) ** 3 <= np.square(u) * v**3


# -- how it is measured -------------------------------------------------------------------------------------------------


def judge(codes: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Return MIG and DCI of codes (n, d) of images with known factors (n, f)."""
    gaps = information_gaps(codes, known)
    importance, accuracy = importances(codes, known)
    return {"mig": float(gaps.mean()), "dci": disentanglement(importance), "completeness": completeness(importance)} | {
        "informativeness": float(accuracy.mean()),
        **{f"mig {name}": float(gap) for name, gap in zip(LEVELS, gaps, strict=True)},
    }


def information_gaps(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return for each factor (I(best number) - I(second best)) / H(factor)."""
    edges = [np.histogram_bin_edges(code, BINS)[1:-1] for code in codes.T]
    binned = np.stack([np.digitize(code, inner) for code, inner in zip(codes.T, edges, strict=True)], axis=1)
    gaps = []
    for factor in known.T:
        first, second = sorted((mutual_info_score(factor, code) for code in binned.T), reverse=True)[:2]
        gaps.append((first - second) / mutual_info_score(factor, factor))
    return np.array(gaps)


def importances(codes: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much each number of the code matters for each factor, (d, f), and how well it is told, (f,)."""
    cut = 3 * len(codes) // 4
    columns, accuracy = [], []
    for factor in known.T:
        trees = RandomForestClassifier(10, max_depth=10, max_features=None, random_state=0)
        trees.fit(codes[:cut], factor[:cut])
        columns.append(trees.feature_importances_)
        accuracy.append(trees.score(codes[cut:], factor[cut:]))
    return np.stack(columns, axis=1), np.array(accuracy)


def disentanglement(importance: np.ndarray) -> float:
    """Return how much each number of the code is about one factor, weighed by its importance."""
    return float((importance.sum(1) / importance.sum() * _concentration(importance)).sum())


def completeness(importance: np.ndarray) -> float:
    """Return how much each factor is told by one number of the code."""
    return float(_concentration(importance.T).mean())


def _concentration(values: np.ndarray) -> np.ndarray:
    """Return 1 - entropy of each line, in units of the largest there can be: 1 all in one place, 0 even."""
    share = values / np.maximum(values.sum(1, keepdims=True), 1e-12)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return 1 + (share * logs).sum(1) / np.log(values.shape[1])


# -- what is measured ---------------------------------------------------------------------------------------------------


class Broadcast(nn.Module):
    """Draw each patch of 2 x 2 pixels from the code and the place of the patch (after Watters 2019)."""

    def __init__(self, width: int = 64, side: int = SIDE // 2) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, side)
        places = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).view(-1, 2)
        self.register_buffer("places", places)
        self.code, self.place = nn.Linear(LATENT, width), nn.Linear(2, width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 4))
        self.side = side

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        patches = self.rest(self.code(z)[:, None] + self.place(self.places))  # (B, places, 4)
        return F.pixel_shuffle(patches.transpose(1, 2).reshape(len(z), 4, self.side, self.side), 2)


def looking() -> nn.Module:
    """Return an encoder of three strided convolutions."""
    widths, layers = (1, 16, 32, 64), []
    for inside, outside in pairwise(widths):
        layers += [nn.Conv2d(inside, outside, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU())


def fitted(variant: Callable[..., ist.Autoencoder], is_broadcast: bool, seed: int, **settings: Any) -> np.ndarray:
    """Fit a variant on the images and return the codes of those that are scored."""
    torch.manual_seed(seed)  # modules of one's own bring their weights
    own: dict[str, Any] = (
        {"network": (looking(), Broadcast()), "learning_rate": 4e-3} if is_broadcast else {"network": "conv"}
    )
    own |= {"latent_dim": LATENT, "reconstruction": "bernoulli", "early_stopping": False, "verbose": False}
    return variant(random_state=seed, **(own | settings)).fit(images()).transform(images()[:SCORED])


@cache
def tc(seed: int) -> np.ndarray:
    """Return codes of the total-correlation VAE with a convolutional network."""
    return fitted(ist.tc_vae, False, seed, beta=6.0, max_epochs=12)


@cache
def beta_broadcast(seed: int) -> np.ndarray:
    """Return codes of a beta-VAE with a broadcast decoder."""
    return fitted(ist.beta_vae, True, seed, beta=4.0, max_epochs=10)


@cache
def tc_broadcast(seed: int) -> np.ndarray:
    """Return codes of the total-correlation VAE with a broadcast decoder and four times the divergence."""
    return fitted(ist.tc_vae, True, seed, beta=6.0, bottleneck=ist.Gaussian(4.0), max_epochs=20)


def rotated(codes: np.ndarray) -> np.ndarray:
    """Turn the numbers that vary towards independence."""
    codes, moving = codes.astype(np.float64), codes.std(0) > 0.1
    turn = FastICA(whiten="unit-variance", fun="cube", random_state=0, max_iter=1000)
    return np.column_stack([turn.fit_transform(codes[:, moving]), codes[:, ~moving]])


def noise(seed: int) -> np.ndarray:
    """Return codes that know nothing."""
    return np.random.default_rng(seed).normal(size=(SCORED, LATENT))


def truth(seed: int) -> np.ndarray:
    """Return the factors themselves."""
    return factors()[:SCORED] + 0.01 * np.random.default_rng(seed).normal(size=(SCORED, len(LEVELS)))


def principal(seed: int) -> np.ndarray:
    """Return codes of PCA."""
    flat = images()[:SCORED].reshape(SCORED, -1) / 255
    return PCA(LATENT, random_state=seed).fit_transform(flat)


RUNS: dict[str, Callable[[int], np.ndarray]] = {
    "the factors and a little noise": truth,
    "noise": noise,
    "PCA": principal,
    "PCA, rotated": lambda seed: rotated(principal(seed)),
    "tc_vae": tc,
    "beta_vae, broadcast": beta_broadcast,
    "beta_vae, broadcast, rotated": lambda seed: rotated(beta_broadcast(seed)),
    "tc_vae, broadcast": tc_broadcast,
    "tc_vae, broadcast, rotated": lambda seed: rotated(tc_broadcast(seed)),
}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: means over the seeds."""
    names = ("mig", "dci", "completeness", "informativeness", *(f"mig {name}" for name in LEVELS), "seconds")
    lines = [f"| | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row in dict.fromkeys(r["row"] for r in results):
        runs = [r for r in results if r["row"] == row]
        cells = [f"{np.mean([r[n] for r in runs]):.3g}" for n in names]
        lines.append(f"| {row} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", choices=tuple(RUNS), default=list(RUNS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger(options.out, ("row", "seed"))
    if options.table:
        print(table(ledger.lines))
        return
    images()
    for row, seed in ((row, seed) for seed in options.seeds for row in options.rows):
        ledger.once(partial(judged, row, seed), row=row, seed=seed)


def judged(row: str, seed: int) -> dict[str, float]:
    """Return the figures of a row, and the seconds of the processor that its codes took."""
    started = time.process_time()
    codes = RUNS[row](seed)
    seconds = time.process_time() - started
    return judge(codes.astype(np.float64), factors()[:SCORED]) | {"seconds": seconds}


if __name__ == "__main__":
    main()
