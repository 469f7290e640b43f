"""Penalties: what training asks of a code beyond a good reconstruction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from isthmus.parts.part import Part
from isthmus.parts.step import Step, per_sample


class Penalty(Part, ABC):
    """Map a step to one number per sample, (B,), or one for the batch, ()."""

    @abstractmethod
    def __call__(self, step: Step) -> Tensor: ...


@dataclass
class L1(Penalty):
    """Penalise the absolute size of the code: weight * sum_j |z_j| (Ng 2011)."""

    weight: float = 1e-3

    def __call__(self, step: Step) -> Tensor:
        return self.weight * per_sample(step.code.z.abs())
