"""Distances between sets of samples: Fréchet, coverage, and who stands nearer; and the features they are taken in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 128
STEPS, BATCH, RATE = 800, 128, 3e-3
"""How long the classifier learns."""


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Return |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^1/2) of rows (n, d), (m, d) with covariances A, B (Heusel 2017)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    # (A B)^1/2 has the eigenvalues of (A^1/2 B A^1/2)^1/2, which is symmetric
    crossed = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * crossed)


def spread(rows: np.ndarray) -> float:
    """Return the total variance of rows (n, d): what a Fréchet distance is a share of."""
    return float(np.var(np.asarray(rows, np.float64), axis=0, ddof=1).sum())


def coverage(real: np.ndarray, drawn: np.ndarray, k: int = 5) -> float:
    """Return the share of real rows (n, d) with a drawn one nearer than their k-th nearest real neighbour (Naeem 2020)."""
    reach = nearest(real, real, k + 1)[:, k]  # the nearest is the row itself
    return float((nearest(real, drawn)[:, 0] <= reach).mean())


def nearest(rows: np.ndarray, among: np.ndarray, k: int = 1) -> np.ndarray:
    """Return the distances of each row (n, d) to its k nearest ``among`` (m, d): (n, k), the nearest first."""
    from sklearn.neighbors import NearestNeighbors  # heavy, and met only where samples are judged

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among).kneighbors(rows)[0]


def nearer_share(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of rows that stand nearer to one of ``first`` than to any of ``second``; ties count half."""
    a, b = nearest(rows, first)[:, 0], nearest(rows, second)[:, 0]
    return float((a < b).mean() + 0.5 * (a == b).mean())


def classifier(x: Tensor, y: np.ndarray, seed: int) -> Callable[[Tensor], np.ndarray]:
    """Learn to tell the labels ``y`` (n,) of samples x (n, *shape); return what its last hidden layer says of samples.

    Two convolutions for images, two dense layers for everything else, and a last layer of 128 numbers.
    """
    classes, target = np.unique(np.asarray(y).astype(str), return_inverse=True)
    labels = torch.from_numpy(target.astype(np.int64))
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        body = _images(x.shape[1]) if x.dim() == 4 else _dense(x[0].numel())
        body(x[:2])  # lazy layers learn their widths
        head = nn.Linear(FEATURES, len(classes))
        _learn(body, head, x, labels, torch.Generator().manual_seed(seed))
    body.eval()

    @torch.inference_mode()
    def features(rows: Tensor) -> np.ndarray:
        return torch.cat([body(piece) for piece in rows.split(1000)]).numpy()

    return features


def _images(channels: int) -> nn.Module:
    stages = [(channels, 32), (32, 64)]
    layers = [
        layer
        for inside, outside in stages
        for layer in (
            nn.Conv2d(inside, outside, 3, padding=1, bias=False),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
        )
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(FEATURES), nn.ReLU())


def _dense(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, FEATURES), nn.ReLU())


def _learn(body: nn.Module, head: nn.Module, x: Tensor, labels: Tensor, rng: torch.Generator) -> None:
    from torch.optim import AdamW  # a second to import, for a use that most programs do not have
    from torch.optim.lr_scheduler import OneCycleLR

    optimizer = AdamW([*body.parameters(), *head.parameters()], weight_decay=1e-2)
    schedule = OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.2)
    for _ in range(STEPS):
        batch = torch.randint(len(x), (min(BATCH, len(x)),), generator=rng)
        optimizer.zero_grad()
        F.cross_entropy(head(body(x[batch])), labels[batch]).backward()
        optimizer.step()
        schedule.step()
