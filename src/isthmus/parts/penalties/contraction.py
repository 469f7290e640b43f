"""Contraction: a code that small changes of the sample hardly move."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.parts.jacobian import Projections, refuse_no_projections, squared_jacobian, twice_differentiable
from isthmus.parts.penalties.penalty import Penalty
from isthmus.parts.step import Step


@dataclass
class Contractive(Penalty):
    """Penalise the squared Jacobian of the code: weight * |dz/dx|_F^2, at the clean sample (Rifai 2011).

    The whole encoder counts, its linear shortcut too; a number that is a gap, or that a corruption hid, moves no code and
    adds nothing. ``projections`` is "exact", or how many random directions estimate the norm (Hutchinson 1990): cheaper for
    long codes, and right on average. The encoder can also buy a small Jacobian by a small code that the decoder enlarges;
    a code of bounded reach such as ``Plain("sigmoid")``, which the paper uses, or tied weights make that dear.
    """

    weight: float = 0.1
    projections: Projections = "exact"

    def __call__(self, step: Step) -> Tensor:
        refuse_no_projections("Contractive", self.projections)
        x = step.batch.x.detach().requires_grad_()
        with torch.enable_grad(), twice_differentiable():
            return self.weight * squared_jacobian(step.encode(x), x, self.projections, step.rng)
