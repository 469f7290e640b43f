"""Sparsity: a code of which few numbers are not zero for any one sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from isthmus.parts.penalties.penalty import Penalty
from isthmus.parts.step import Step, per_sample


@dataclass
class L1(Penalty):
    """Penalise the absolute size of the code: weight * sum_j |z_j| (Ng 2011)."""

    weight: float = 1e-3

    def __call__(self, step: Step) -> Tensor:
        return self.weight * per_sample(step.code.z.abs())
