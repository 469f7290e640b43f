"""Levels: a number that a part uses while it trains, the same throughout, another for each sample, or one that moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.part import Part


@dataclass
class Ramp(Part):
    """A number that moves with the training: start + (end - start) * progress."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


Level = float | tuple[float, float] | Ramp
"""A number; (low, high), drawn anew and evenly for every sample; or a Ramp over the training."""


def level(value: Level, like: Tensor, progress: float, rng: torch.Generator) -> Tensor:
    """Return the level of each sample of ``like`` (B, ...), shaped (B, 1, ..) so that it meets every number of its sample."""
    shape = (len(like), *[1] * (like.dim() - 1))
    if isinstance(value, (tuple, list)):
        low, high = value
        drawn = torch.rand(shape, generator=rng, device=like.device, dtype=torch.float32).to(like.dtype)
        return low + (high - low) * drawn
    return like.new_full(shape, value(progress) if isinstance(value, Ramp) else float(value))


def ends(value: Any) -> tuple[float, ...]:
    """Return the numbers between which a level lies; a range must be two numbers, the smaller first."""
    if isinstance(value, Ramp):
        return (value.start, value.end)
    if not isinstance(value, (tuple, list)):
        return (value,)
    if len(value) != 2 or not value[0] <= value[1]:
        raise SettingError(f"A range of levels is two numbers, the smaller first, such as (0.1, 0.4); not {value!r}.")
    return (value[0], value[1])
