"""What flows through a model: a batch, its code, and the step that penalties may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some samples; what is absent is None."""

    x: Tensor
    """(B, *shape) encoded samples, 0 where a value is missing."""
    observed: Tensor | None = None
    """(B, *shape) bool: which numbers are known. None when all are."""
    cells: Tensor | None = None
    """(d,) long: the table column each feature belongs to. None when every feature stands for itself."""
    weight: Tensor | None = None
    """(B,) sample weights."""


class Code(NamedTuple):
    """The narrow strip between the two seas."""

    z: Tensor
    """What the decoder gets; may be noisy during training."""
    embedding: Tensor
    """What ``transform`` returns: the noise-free code."""
    terms: Mapping[str, Tensor] = {}
    """Loss terms of the bottleneck, each (B,), by name."""


@dataclass(frozen=True)
class Step:
    """One forward pass, as a penalty sees it."""

    batch: Batch
    code: Code
    x_hat: Tensor
    encode: Callable[[Tensor], Tensor]
    """x -> embedding, for penalties that differentiate the encoder."""
    decode: Callable[[Tensor], Tensor]
    """z -> x_hat, for penalties that differentiate the decoder."""
    progress: float = 1.0
    """Share of the training that is done, in [0, 1]: what schedules depend on."""


def per_sample(values: Tensor) -> Tensor:
    """Sum (B, ...) over everything but the samples: (B,)."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def normal(like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Draw N(0, 1) of the shape and type of ``like`` from the generator given, never from the global one."""
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=rng)
