"""Learning to restore: the linear answer first, a network that corrects it, and held-out rows as their judge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.apps.denoising.linear import Linear, learn_gaps, learn_noisy_prior, learn_prior, learn_regression
from isthmus.apps.denoising.networks import correction, is_picture
from isthmus.apps.denoising.noises import Gaussian, Noise, Pairs, Recorrupted, Spoiled
from isthmus.apps.denoising.restoring import Restorer, corrected, mirrored, start
from isthmus.engine.adam import Adam
from isthmus.parts.corruptions import Masking
from isthmus.precision import computes_bfloat16
from isthmus.threads import threads_for

EFFORTS = {"quick": 0.3, "default": 1.0, "thorough": 3.0}
FEWEST_HELD_OUT = 4
_MOST_JUDGES = 1000
_SCARCE = 4
"""With fewer rows than so many a number, pictures are mirrored and moved by a pixel where that helps."""
_RATE, _DECAY, _LOOKS = 3e-3, 1e-2, 8
_REGRESSED = 20_000


class Plan(NamedTuple):
    """How much is learned from."""

    samples: int
    batch: int


@dataclass(frozen=True)
class Errors:
    """Root mean squared errors on held-out rows, in units of the encoded samples."""

    input: float
    linear: float
    network: float


def plan(n: int, shape: tuple[int, ...], noise: Noise, effort: str) -> Plan:
    """Return how many samples to learn from: as much work whatever the size of a picture, less where rows are few."""
    share = EFFORTS[effort] * (2.5 if isinstance(noise, Gaussian) and noise.low < noise.high else 1.0)
    if not is_picture(shape):
        return Plan(int(share * min(300_000, 400 * n)), 128)
    full = min(160_000, max(4_000, 40_000 * 784 / math.prod(shape[1:])))
    return Plan(int(share * min(full, 150 * n)), 32)


def learn(
    x: Tensor, held: Tensor, shape: tuple[int, ...], noise: Noise, effort: str, seed: int
) -> tuple[Restorer, Errors]:
    """Learn from rows (n, d) and choose by held-out ones (m, d): clean, or noisy where ``noise`` is ``Recorrupted``."""
    rng = torch.Generator().manual_seed(seed)
    judge = _pairs(noise, held[:_MOST_JUDGES], rng)
    weight = _weight(judge)
    losses = {"input": _losses(judge.y, judge, weight)}
    candidates = []
    for ways in _ways(x, shape, noise):
        linear = _linear(x, shape, noise, ways, rng)
        answer = start(linear, judge.y, judge.level, judge.observed)
        candidates.append((float(_losses(answer, judge, weight).mean()), ways, linear, answer))
    _, ways, linear, answer = min(candidates, key=lambda each: each[0])
    losses["linear"] = _losses(answer, judge, weight)
    network = correction(shape, 2 if judge.observed is None else 3, rng)
    with threads_for(network, 32, 3):
        output = _train(network, linear, x, shape, noise, plan(len(x), shape, noise, effort), judge, ways, rng)
    losses["network"] = _losses(output, judge, weight)
    if isinstance(noise, Recorrupted):  # two pairs a row, and the rows themselves are known to be off by sigma
        losses = {name: loss.view(2, -1).mean(0) for name, loss in losses.items()}
        losses["input"] = (noise.sigma**2 + noise.floor) * weight[: len(weight) // 2]
    chosen = choose(losses)
    if chosen == "linear":  # what judged may now be learned from
        linear = _linear(torch.cat([x, held]), shape, noise, ways, rng)
    floor = noise.floor if isinstance(noise, Recorrupted) else 0.0
    outputs = {"input": judge.y, "linear": answer, "network": output}
    errors = {
        name: math.sqrt(max(float((out - judge.target).square().mean()) - floor, 0.0)) for name, out in outputs.items()
    }
    if isinstance(noise, Recorrupted):
        errors["input"] = noise.sigma
    return Restorer(linear, network if chosen == "network" else None, chosen, *_levels(noise), ways != _AS_IS), Errors(
        **errors
    )


def linear_alone(x: Tensor, shape: tuple[int, ...], noise: Noise, seed: int) -> Restorer:
    """Learn the linear answer from rows too few to judge another by."""
    linear = _linear(x, shape, noise, _AS_IS, torch.Generator().manual_seed(seed))
    return Restorer(linear, None, "linear", *_levels(noise))


def _levels(noise: Noise) -> tuple[float, float]:
    """Return between which levels of Gaussian noise is learned; 0 where noise has no level."""
    if isinstance(noise, Gaussian):
        return noise.low, noise.high
    level = noise.level if isinstance(noise, Recorrupted) else 0.0
    return level, level


def choose(losses: dict[str, Tensor]) -> str:
    """Return the simplest answer that no other beats by more than the standard error of the difference."""
    chosen = "input"
    for name in ("linear", "network"):
        gain = losses[chosen] - losses[name]
        if float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain)):
            chosen = name
    return chosen


_AS_IS = (1.0, 0.0, 0.0)
_MIRRORED = (0.5, 0.5, 0.0)
_MOVED = (0.25, 0.25, 0.5)
"""Shares of the rows as they are, mirrored, and mirrored or not and moved by a pixel, in the covariance."""


def _ways(x: Tensor, shape: tuple[int, ...], noise: Noise) -> list[tuple[float, float, float]]:
    is_scarce = _learns_covariance(noise) and len(shape) == 3 and len(x) < _SCARCE * x.shape[1]
    return [_AS_IS, _MIRRORED, _MOVED] if is_scarce else [_AS_IS]


def _linear(
    x: Tensor, shape: tuple[int, ...], noise: Noise, ways: tuple[float, float, float], rng: torch.Generator
) -> Linear:
    if not _learns_covariance(noise):
        pairs = noise.pairs(x[torch.randperm(len(x), generator=rng)[:_REGRESSED]], rng)
        return learn_regression(pairs.target, pairs.y, pairs.observed)
    makers = (lambda: x, lambda: mirrored(x, shape), lambda: moved(x, shape))
    parts = [(make(), share) for make, share in zip(makers, ways, strict=True) if share]
    if isinstance(noise, Recorrupted):
        return learn_noisy_prior(parts, noise.sigma)
    return learn_gaps(parts) if isinstance(noise, Spoiled) else learn_prior(parts)


def _learns_covariance(noise: Noise) -> bool:
    """Does the linear answer follow from what clean rows are like? Otherwise it is a regression on spoiled ones."""
    return not isinstance(noise, Spoiled) or isinstance(noise.corruption, Masking)


def _varied(x: Tensor, shape: tuple[int, ...], ways: tuple[float, float, float], rng: torch.Generator) -> Tensor:
    """Return a batch mirrored or not, and moved by a pixel or not, as often as it is in the covariance."""
    mirror, move = torch.rand(2, generator=rng).tolist()
    if move < ways[2]:
        place = int(torch.randint(8, (), generator=rng))
        return moved(x, shape)[place * len(x) : (place + 1) * len(x)]
    return mirrored(x, shape) if mirror < 0.5 else x


def moved(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return pictures (8 n, d) moved by a pixel up, down, left and right, mirrored or not; edges are repeated."""
    both = torch.cat([x, mirrored(x, shape)]).view(-1, *shape)
    height, width = shape[1:]
    wide = F.pad(both, (1, 1, 1, 1), mode="replicate")
    places = ((0, 1), (2, 1), (1, 0), (1, 2))
    return torch.cat([wide[:, :, top : top + height, left : left + width].flatten(1) for top, left in places])


def _train(
    network: nn.Module,
    linear: Linear,
    x: Tensor,
    shape: tuple[int, ...],
    noise: Noise,
    plan: Plan,
    judge: Pairs,
    ways: tuple[float, float, float],
    rng: torch.Generator,
) -> Tensor:
    """Train over one cycle of the rate; the network keeps the averaged weights that judged best, and its answer is returned."""
    adam = Adam(network.named_parameters(), _DECAY, (0.9, 0.98))
    weights = [p.detach() for p in network.parameters()]
    average = [p.clone() for p in weights]
    best, answer = [p.clone() for p in weights], start(linear, judge.y, judge.level, judge.observed)
    judged = _weight(judge)
    lowest = float(_losses(answer, judge, judged).mean())
    steps, order = max(1, plan.samples // plan.batch), _order(len(x), plan.batch, rng)
    for step in range(steps):
        rows = x[next(order)]
        if ways != _AS_IS:
            rows = _varied(rows, shape, ways, rng)
        _step(network, linear, noise.pairs(rows, rng), rng)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step(_rate((step + 1) / steps))
        if step % 4 == 3:
            for mean, weight in zip(average, weights, strict=True):
                mean.lerp_(weight, 1 - min(0.92, step / (step + 160)))
        if step + 1 == steps or (2 * step >= steps and (step + 1) % max(1, steps // (2 * _LOOKS)) == 0):
            with _lent(network, average):
                output = _answer(network, linear, judge)
            loss = float(_losses(output, judge, judged).mean())
            if loss < lowest:
                lowest, answer, best = loss, output, [p.clone() for p in average]
    for weight, kept in zip(weights, best, strict=True):
        weight.copy_(kept)
    network.eval().requires_grad_(False)
    return answer


def _step(network: nn.Module, linear: Linear, pairs: Pairs, rng: torch.Generator) -> None:
    """Give every weight the gradient of the mean squared error, rows of weak noise counting more."""
    with torch.no_grad():
        w = start(linear, pairs.y, pairs.level, pairs.observed)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_picture_network(network) and computes_bfloat16()):
        x_hat = corrected(network, w, pairs.y, pairs.level, pairs.observed)
    ((x_hat - pairs.target).square().mean(1) * _weight(pairs)).mean().backward()


def is_picture_network(network: nn.Module) -> bool:
    """Does the network convolve? Small dense layers gain nothing from half precision."""
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


@contextmanager
def _lent(network: nn.Module, weights: Sequence[Tensor]) -> Iterator[None]:
    """Run the block with other weights in the network."""
    own = [p.detach() for p in network.parameters()]
    kept = [p.clone() for p in own]
    for target, source in zip(own, weights, strict=True):
        target.copy_(source)
    yield
    for target, source in zip(own, kept, strict=True):
        target.copy_(source)


@torch.inference_mode()
def _answer(network: nn.Module, linear: Linear, pairs: Pairs) -> Tensor:
    parts = []
    for rows in torch.arange(len(pairs.y)).split(250):
        seen = None if pairs.observed is None else pairs.observed[rows]
        w = start(linear, pairs.y[rows], pairs.level[rows], seen)
        parts.append(corrected(network, w, pairs.y[rows], pairs.level[rows], seen))
    return torch.cat(parts).clone()


def _pairs(noise: Noise, rows: Tensor, rng: torch.Generator) -> Pairs:
    if isinstance(noise, Recorrupted):  # pairs come twice
        return noise.pairs(torch.cat([rows, rows]), rng)
    return noise.pairs(rows, rng)


def _weight(pairs: Pairs) -> Tensor:
    """Return (n,) how much a row counts: as 1 / level, or rows of strong noise would drown the others."""
    return 1 / pairs.level[:, 0] if bool(pairs.level.any()) else torch.ones(len(pairs.y))


def _losses(x_hat: Tensor, pairs: Pairs, weight: Tensor) -> Tensor:
    return (x_hat - pairs.target).square().mean(1) * weight


def _order(n: int, batch: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield the positions of batches, epoch by epoch; a set smaller than a batch is its own."""
    while True:
        order = torch.randperm(n, generator=rng)
        yield from (order[i : i + batch] for i in range(0, max(1, n - batch + 1), batch))


def _rate(done: float) -> float:
    """Rise for a twentieth of the steps, then fall evenly."""
    return _RATE * min(done / 0.05, 1.0) * max(1 - done, 0.0)


def split(n: int, seed: int, is_ordered: bool, overlap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of training rows and of held-out ones: a tenth; the last ones of a series, less their overlap."""
    held = max(FEWEST_HELD_OUT, min(_MOST_JUDGES, math.ceil(0.1 * n)))
    if is_ordered:
        left = n - held - overlap
        return np.arange(left if left >= n / 2 else n - held), np.arange(n - held, n)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])
