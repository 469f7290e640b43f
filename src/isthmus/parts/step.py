"""What flows through a model: a batch, its code, and the step that penalties may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


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
    condition: Tensor | None = None
    """(B, c) what encoder and decoder are told besides the sample; a row of 0 says nothing."""


class Posterior(NamedTuple):
    """A normal distribution of the code given the sample, independent in every number."""

    mu: Tensor
    """(B, *z_shape)"""
    log_var: Tensor
    """(B, *z_shape)"""


class Code(NamedTuple):
    """The narrow strip between the two seas; what a bottleneck does not have is None."""

    z: Tensor
    """(B, *z_shape) what the decoder gets; may be noisy during training."""
    embedding: Tensor
    """(B, *z_shape) what ``transform`` returns: the noise-free code."""
    terms: Mapping[str, Tensor] = {}
    """Loss terms of the bottleneck, each (B,), by name."""
    posterior: Posterior | None = None
    """What z was drawn from."""
    before: Tensor | None = None
    """The code before it was made sparse, (B, *z_shape): who would have come next."""
    indices: Tensor | None = None
    """Which entries of a codebook the code is made of: (B, levels, *positions) long."""


@dataclass(frozen=True)
class Step:
    """One forward pass of training, as a penalty sees it."""

    batch: Batch
    """The clean samples."""
    seen: Batch
    """What the encoder got: the same, corrupted."""
    code: Code
    x_hat: Tensor
    """(B, *shape) the decoder's output: the sample itself, or logits."""
    encode: Callable[[Tensor], Tensor]
    """x -> embedding, for penalties that differentiate the encoder."""
    decode: Callable[[Tensor], Tensor]
    """z -> x_hat, for penalties that differentiate the decoder."""
    frozen_decode: Callable[[Tensor], Tensor]
    """z -> x_hat where no gradient reaches the decoder's weights."""
    error: Callable[[Tensor], Tensor]
    """x_hat -> the reconstruction term, (B,)."""
    mean: Callable[[Tensor], Tensor]
    """x_hat -> the expected sample, (B, *shape)."""
    rng: torch.Generator
    """Where every random number of a penalty comes from."""
    progress: float = 1.0
    """Share of the training that is done, in [0, 1]: what schedules depend on."""
    n_rows: int = 0
    """How many rows are trained on."""
    hidden: tuple[Tensor, ...] = ()
    """The activations of the encoder's hidden layers, each (B, ...), the first layer first."""
    critic: Callable[..., Tensor] | None = None
    """The critic of an Adversary; frozen, or learning, as its contract says."""
    features: Callable[[Tensor], Sequence[Tensor]] | None = None
    """The network of an Onlooker: images -> feature maps. Gradients flow through it, and nothing trains it."""


class Settling(nn.Module, ABC):
    """A module with state that is not trained by a gradient (a codebook of averages, a threshold), kept in buffers.

    ``forward`` may only note what it saw; the buffers change in :meth:`after_step`, once a training step.
    """

    @abstractmethod
    def after_step(self, rng: torch.Generator) -> None: ...


class Pretrained(nn.Module, ABC):
    """A module that learns from the rows before the training and never again: its weights are buffers.

    So no optimiser moves them, and the saved model, its checkpoints and its best weights all hold them.
    """

    steps: int
    """How many steps it learns for."""
    batch_size: int
    learning_rate: float

    @abstractmethod
    def task(self, batch: Batch, rng: torch.Generator) -> nn.Module:
        """Return what learns in its place, a module (batch, rng) -> loss (); ``batch`` is a first look at the rows."""

    @abstractmethod
    def take_over(self, task: nn.Module, batch: Batch, rng: torch.Generator) -> str:
        """Take over what ``task`` has learned, and say in a sentence how well it did on ``batch``."""


def per_sample(values: Tensor) -> Tensor:
    """Sum (B, ...) over everything but the samples: (B,)."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def normal(like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Draw N(0, 1) of the shape and type of ``like`` from the generator given, never from the global one.

    The numbers are those of float32 whatever the type, so that a model in float64 meets the same noise.
    """
    return torch.randn(like.shape, dtype=torch.float32, device=like.device, generator=rng).to(like.dtype)


def frozen(module: nn.Module) -> Callable[..., Tensor]:
    """Return ``module`` as a function through which gradients flow, but into whose weights none does."""
    still = {name: value.detach() for name, value in module.named_parameters()}
    return lambda *inputs: functional_call(module, still, inputs)


def ramp(progress: float, length: float) -> float:
    """Return a weight that grows linearly from 0 to 1 over the first ``length`` of the training."""
    return 1.0 if progress >= length else progress / length
