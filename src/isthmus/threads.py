"""How many threads a computation gets: a pure function of its size, so that results do not depend on the weather."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SMALL = 5e8
"""Floating-point operations of one step below which one thread computes it: about five milliseconds. Threads that wait for
each other cost more than they bring there, and on a busy machine a hundred times more."""


@contextmanager
def threads_for(model: nn.Module, rows: int, passes: int) -> Iterator[None]:
    """Run the block on one thread when a step (``rows`` samples; 2 operations a weight and pass) is small."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    before = torch.get_num_threads()
    if before == 1 or 2.0 * passes * rows * weights >= SMALL or convolves(model):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def convolves(model: nn.Module) -> bool:
    """Say whether the model has convolutions: they use each weight many times, so that their work is not that of weights."""
    return any(isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for module in model.modules())


def keep_to(threads: int) -> None:
    """Let the thread that calls this compute with so many from now on."""
    torch.set_num_threads(threads)
