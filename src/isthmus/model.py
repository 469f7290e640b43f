"""The model: all weights, behind the few methods that the loop, the estimator and the applications know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.layout import Layout
from isthmus.parts.bottlenecks import Bottleneck
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks import Network
from isthmus.parts.penalties import Penalty
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import Reconstruction
from isthmus.parts.step import Batch, Code, Settling


@dataclass(frozen=True)
class Parts:
    """The parts of one model, all resolved: nothing says "auto" any more."""

    network: Network
    bottleneck: Bottleneck
    reconstruction: Reconstruction
    corruptions: tuple[Corruption, ...] = ()
    penalties: tuple[Penalty, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """What a model is built from."""

    parts: Parts
    layout: Layout
    latent_dim: int
    shortcut: bool = False
    """Does it start from PCA?"""
    condition_width: int = 0
    """How many numbers the condition of a sample has; 0 when there is none."""
    n_rows: int = 0
    """How many rows it will learn from, where that is known."""


class Model(nn.Module, ABC):
    """All weights of an autoencoder.

    ``Composed`` joins the parts one after the other and serves nearly every variant; a coupled design (hierarchical,
    importance weighted) fulfils these methods in its own way.
    """

    blueprint: Blueprint
    encoder: Any
    """A module: (x (B, *shape), observed=None, condition=None) -> embedding (B, *z_shape)."""
    decoder: Any
    """A module: (z (B, *z_shape), condition=None) -> the expected sample (B, *shape)."""
    z_shape: tuple[int, ...]

    @property
    def parts(self) -> Parts:
        return self.blueprint.parts

    @property
    def layout(self) -> Layout:
        return self.blueprint.layout

    @abstractmethod
    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        """Return the code of a batch; without a generator, the noise-free one."""

    @abstractmethod
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the decoder's output, (B, *shape): the sample itself, or logits. ``decoder(z)`` gives the expected sample."""

    @abstractmethod
    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        """Return every loss term by name, each (B,), or () for a term of the whole batch.

        With a generator: corrupted input and random code, as in training; without: as in scoring. Penalties belong to
        training alone, where gradients flow.
        """

    @abstractmethod
    def cells(self, batch: Batch) -> Tensor:
        """Return the noise-free reconstruction term of each cell: (B, *shape), or (B, n_blocks) for tables.

        What no reconstruction could change (the normaliser of a Gaussian) is left out: a perfect cell counts 0.
        """

    @abstractmethod
    def sample(self, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        """Draw ``n`` expected samples, (n, *shape), from the prior; None where the code has none."""

    @abstractmethod
    def start_from(self, floor: Principal) -> None:
        """Take up what is known before training: column means, and PCA where the model carries the shortcut."""

    @abstractmethod
    def become_linear(self, floor: Principal) -> None:
        """Make the model equal PCA. Needs a shortcut."""

    def expected(self, batch: Batch) -> Tensor:
        """Return the noise-free reconstruction, (B, *shape)."""
        return self.decoder(self.encode(batch).embedding, batch.condition)

    def after_step(self, rng: torch.Generator) -> None:
        """Let every module settle its untrained state after a training step."""
        for module in self._settling:
            module.after_step(rng)

    @cached_property
    def _settling(self) -> list[Settling]:
        return [module for module in self.modules() if isinstance(module, Settling)]


class Activations:
    """Collects what the hidden layers of a network put out while it is open; penalties on them ask for it."""

    def __init__(self, body: nn.Module) -> None:
        self._layers = [m for m in body.modules() if type(m).__module__ == "torch.nn.modules.activation"]
        self.seen: list[Tensor] = []

    def __enter__(self) -> list[Tensor]:
        self._handles = [layer.register_forward_hook(self._note) for layer in self._layers]
        return self.seen

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.seen.append(output)
