"""What networks of columns share in training: whose turn it is, how large a step is, and which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

AVERAGED_EVERY = 5
"""Weights enter the average every so many steps."""
MEMORY = 0.98


class Averages:
    """Moving averages of weights (Polyak & Juditsky 1992), and of each network in the stack that which judged best.

    The first dimension of every parameter counts the networks of the stack; ``lowest`` holds their losses at the start.
    """

    def __init__(self, stack: nn.Module, lowest: Tensor) -> None:
        self.lowest = lowest
        self._parameters = [p.detach() for p in stack.parameters()]
        self._average, self._best = ([p.clone() for p in self._parameters] for _ in range(2))

    def follow(self, step: int) -> None:
        """Take the weights after ``step`` into the average."""
        if step % AVERAGED_EVERY == AVERAGED_EVERY - 1:
            for mean, parameter in zip(self._average, self._parameters, strict=True):
                mean.lerp_(parameter, 1 - min(MEMORY, step / (step + 50)))

    @torch.no_grad()
    def judge(self, losses: Callable[[], Tensor]) -> Tensor:
        """Return the losses under the averages; where they are the lowest so far, keep these."""
        kept = [p.clone() for p in self._parameters]
        _copy(self._parameters, self._average)
        now = losses()
        _copy(self._parameters, kept)
        better = (now < self.lowest).flatten()
        for target, source in zip(self._best, self._average, strict=True):
            target[better] = source[better]
        self.lowest = torch.minimum(self.lowest, now)
        return now

    def settle(self) -> None:
        """Leave the networks with the weights that judged best."""
        _copy(self._parameters, self._best)


def batches(others: Tensor, size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield, without end, ``size`` of the rows (K, n) of each member, shuffled anew whenever too few are left."""
    while True:
        shuffled = torch.stack([mine[torch.randperm(len(mine), generator=rng)] for mine in others])
        for place in range(0, max(others.shape[1] - size, 0) + 1, size):
            yield shuffled[:, place : place + size]


def clip(stack: nn.Module) -> None:
    """Scale the gradients of each network to a norm of at most 1."""
    gradients = [p.grad for p in stack.parameters() if p.grad is not None]
    norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    factor = (1 / norms.clamp_min(1.0))[:, None, None]
    for gradient in gradients:
        gradient.mul_(factor)


def one_cycle(peak: float, done: float) -> float:
    """Rise for a tenth of the steps, then fall along a cosine (Smith 2018)."""
    if done < 0.1:
        return peak * (0.02 + done / 0.1)
    return peak * (0.001 + 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)))


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
