"""The engine: how the steps of training are computed. The loop hands it a block of batches and asks no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from isthmus.engine.adam import Adam
from isthmus.model import Model
from isthmus.parts.step import Batch


class Block(NamedTuple):
    """The rows of some steps, gathered at once in the order of their visit."""

    rows: Batch
    """(n, ..) the batches, one behind the other."""
    sizes: list[int]
    """How many rows each batch has."""
    progress: list[float]
    """The share of the training that is done at each step."""
    rates: list[float]
    """The learning rate of each step."""

    def steps(self) -> Iterator[tuple[Batch, float, float]]:
        """Yield (batch, progress, rate), step by step; batches are views."""
        start = 0
        for size, progress, rate in zip(self.sizes, self.progress, self.rates, strict=True):
            yield part_of(self.rows, start, start + size), progress, rate
            start += size


Terms: TypeAlias = Callable[[Batch, torch.Generator, float], dict[str, Tensor]]
"""(batch, rng, progress) -> the terms of a model by name, as :meth:`Model.terms` has them."""


class Engine(ABC):
    """Computes training steps: terms of the model -> weighted mean -> gradient -> Adam -> after_step.

    What every engine owes: the same random numbers in the same order, and, in float32, the losses of :class:`Eager` but for
    rounding.
    """

    name: ClassVar[str]
    note: str = ""
    """Why some steps were not computed as fast as the others; "" when all were."""
    terms: Terms
    """Computes the terms of the model in use, by which it is judged: those of the model itself, to the last bit."""

    @abstractmethod
    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        """Take the steps of a block. Return the loss and its terms as sums over rows, each as it was before its step."""


Maker: TypeAlias = Callable[[Model, Adam, int], tuple[Engine, str]]
"""Picks the engine of a model for so many steps, and says why it is not a faster one ("" when there is none)."""


def in_use(model: Model) -> Terms:
    """Return what computes the terms of any model, out of training."""

    def terms(batch: Batch, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
        if model.training:
            model.eval()
        return model.terms(batch, rng, progress)

    return terms


class Tally:
    """Sums of what the steps of a block say, read once at its end: reading a number is a wait for the device."""

    def __init__(self) -> None:
        self._totals: dict[str, list[Tensor]] = {}

    def add(self, totals: dict[str, Tensor]) -> None:
        """Take the terms of one step, each summed over its batch, ()."""
        for name, value in totals.items():
            self._totals.setdefault(name, []).append(value)

    def sums(self) -> dict[str, float]:
        """Return the sum over steps by name, "loss" first: the sum of them all."""
        sums = {name: float(torch.stack(values).double().sum()) for name, values in self._totals.items()}
        return {"loss": sum(sums.values())} | sums


def part_of(rows: Batch, start: int, stop: int) -> Batch:
    """Return some rows of a batch, as views."""
    x, observed, cells, weight, condition = rows
    return Batch(
        x[start:stop],
        None if observed is None else observed[start:stop],
        cells,
        None if weight is None else weight[start:stop],
        None if condition is None else condition[start:stop],
    )


def mapped(rows: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """Return a batch of what ``function`` makes of every tensor."""
    x, *others = rows
    return Batch(function(x), *(None if values is None else function(values) for values in others))
