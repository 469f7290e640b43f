"""The importance weighted autoencoder: several codes for each sample, and a tighter bound on log p(x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.designs.design import Design
from isthmus.designs.draws import Draws, log_mean, noise_for, refuse_penalties, refuse_shaped, refuse_unlikely
from isthmus.designs.wrapping import Wrapping
from isthmus.errors import SettingError
from isthmus.model import Blueprint, Model
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.principal import Principal
from isthmus.parts.step import Batch, Code, ramp
from isthmus.training import Run


@dataclass
class ImportanceWeighted(Design):
    """Train on -log 1/k sum_i p(x | z_i) p(z_i) / q(z_i | x), k = ``samples`` codes drawn from q(z | x) (Burda 2016).

    The term "bound" is that number, in nats a sample. It never lies below -log p(x) in expectation, and comes nearer with
    every sample. With one sample it is reconstruction + log q(z | x) - log p(z): the loss of the variational autoencoder,
    but for its KL term being that of the code drawn instead of its expectation.

    Scores of rows, which draw nothing, are reconstruction + KL at the mean of the code, as without this design.
    """

    samples: int = 8
    carries_shortcut: ClassVar[bool] = False  # a Gaussian code cannot carry it

    def build(self, blueprint: Blueprint) -> Model:
        if self.samples < 1:
            raise SettingError(f"ImportanceWeighted(samples={self.samples}) needs at least 1 sample; try 8.")
        return Weighted(blueprint, self.samples)

    def prepare(self, run: Run) -> None:
        pass


class Weighted(Wrapping):
    """x -> q(z | x) -> z_1 .. z_k -> weights p(x, z_i) / q(z_i | x) -> -log of their mean."""

    def __init__(self, blueprint: Blueprint, samples: int) -> None:
        super().__init__(blueprint)
        self.samples = samples
        refuse_unlikely(self.parts)
        refuse_penalties(self.parts, "ImportanceWeighted")
        bottleneck = self.parts.bottleneck
        assert isinstance(bottleneck, Gaussian), "only Gaussian codes pass"
        refuse_shaped(bottleneck, "ImportanceWeighted")
        if bottleneck.beta != 1:
            raise SettingError(
                f"ImportanceWeighted bounds log p(x), which beta={bottleneck.beta} does not; use beta=1, or "
                f"design='direct'."
            )
        self._warm_up = bottleneck.warm_up

    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        return self.composed.encode(batch, rng, progress)

    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        if rng is None:
            return self.composed.terms(batch)
        seen = self.composed.corrupted(batch, rng, progress)
        noise = noise_for(batch, self.samples, self.noise_width, rng)
        weights = self.weigh(batch, noise, seen).log_weights(ramp(progress, self._warm_up))  # (k, B)
        return {"bound": -log_mean(weights)}

    def weigh(self, batch: Batch, noise: Tensor, seen: Batch | None = None) -> Draws:
        return self.composed.weigh(batch, noise, seen)

    def sample(self, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        return self.composed.sample(n, rng, condition)

    def start_from(self, floor: Principal) -> None:
        self.composed.start_from(floor)
