"""The reference engine: autograd computes the gradient of whatever the model says."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.engine.adam import Adam
from isthmus.engine.engine import Block, Engine, Tally, in_use
from isthmus.engine.precision import multiplying, rounding
from isthmus.model import Model
from isthmus.parts.step import Batch


class Eager(Engine):
    """Serves every model, on every device, in every precision."""

    name: ClassVar[str] = "eager"

    def __init__(self, model: Model, optimizer: Adam, precision: str = "float32") -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.device, self.terms = next(model.parameters()).device, in_use(model)

    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        tally = Tally()
        with multiplying(self.precision, self.device):
            for batch, progress, rate in block.steps():
                means = self.step(batch, rng, progress, rate)
                del means["loss"]  # the tally sums it up again
                tally.add({name: mean * len(batch.x) for name, mean in means.items()})
        return tally.sums()

    def step(
        self, batch: Batch, rng: torch.Generator, progress: float, learning_rate: float | Tensor
    ) -> dict[str, Tensor]:
        """Train on one batch; return the loss and its terms, each (), as they were before the step."""
        with rounding(self.precision, self.device):
            terms = self.model.terms(batch, rng, progress)
        means = average(terms, batch.weight)
        means["loss"].backward()
        self.optimizer.step(learning_rate)
        self.model.after_step(rng)
        return {name: value.detach() for name, value in means.items()}


def average(terms: dict[str, Tensor], weight: Tensor | None) -> dict[str, Tensor]:
    """Average terms of (B,) over the batch, each times its sample weight; "loss" is their sum.

    The batch is not divided by its own weights: over all rows they have mean 1, and a batch of heavy rows must count more.
    """
    means = {}
    for name, values in terms.items():
        if values.dim() == 0:
            means[name] = values
        elif weight is None:
            means[name] = values.mean()
        else:
            means[name] = (values * weight).mean()
    return {"loss": torch.stack(list(means.values())).sum()} | means


def reference(model: Model, optimizer: Adam, steps: int) -> tuple[Engine, str]:
    """Return the eager engine, whatever the model and the steps."""
    return Eager(model, optimizer), "it is the reference"
